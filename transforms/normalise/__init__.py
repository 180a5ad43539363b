"""From a volume as published to a volume as stored: orientation, grid, intensity."""
