"""Event vocabulary, encoders, transfer from a pre-trained model, masked surprisal."""

import os

# Threads that wait for one another spin by default, and on a machine that does something else too they spin
# away the time the other needs. Measured on 2 cores beside one busy process (256 wide, 4 layers): 1.4-1.8 k
# tokens/s spinning, 5.1-6.2 k sleeping; alone no difference. Read once, when torch loads the OpenMP library.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
