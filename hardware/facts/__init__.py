"""What findings and configuration say together; one module for each question."""
