"""Event vocabulary, encoders, transfer from a pre-trained model, masked surprisal."""

import os

# Threads that wait for one another spin for milliseconds by default, and on a machine that does something else
# too they spin away the time that the other needs. Measured on 2 cores (256 wide, 4 layers, batch 32), tokens/s
# with GNU's default and with this: alone 6.8-7.6 k and 6.2-6.7 k, beside one busy process 2.1-2.4 k and
# 7.6-8.2 k. Read once, when torch loads the OpenMP library.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
