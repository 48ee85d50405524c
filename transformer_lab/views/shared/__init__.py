"""What two views or more use."""
