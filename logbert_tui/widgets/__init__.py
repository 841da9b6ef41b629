"""Line widgets of our own: charts, gauges, lists."""
