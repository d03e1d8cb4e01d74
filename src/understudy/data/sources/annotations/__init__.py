"""What annotation tools write."""
