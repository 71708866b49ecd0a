"""The accounting side (IAS 38): a projection of the evidence, made after the fact."""
