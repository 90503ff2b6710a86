"""Training and export of the `rnn` codec."""
