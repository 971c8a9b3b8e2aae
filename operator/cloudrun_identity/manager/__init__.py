"""What runs the controllers: cache, queue, workers, sweeper, metrics, health."""
