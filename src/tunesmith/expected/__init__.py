"""What a plan can say of datasets and of tuning before they ran."""
