"""What must hold of the inventory, the plan and the samples, how it is checked, and the report a person reads."""
