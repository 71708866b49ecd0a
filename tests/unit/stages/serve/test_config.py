import pydantic
import pytest

from tunesmith.stages.serve.config import ServiceConfig


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.0.0.9"])
def test_this_machine_is_accepted(host):
    assert ServiceConfig(models=("desk",), host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_other_machines_could_reach_it(host):
    with pytest.raises(pydantic.ValidationError, match="no keys"):
        ServiceConfig(models=("desk",), host=host)


@pytest.mark.parametrize(
    ("models", "said"), [((), "name models"), (("desk", "clerk", "desk"), "named twice")]
)
def test_each_model_is_named_once(models, said):
    with pytest.raises(pydantic.ValidationError, match=said):
        ServiceConfig(models=models)
