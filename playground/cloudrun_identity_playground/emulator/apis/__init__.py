"""What Google's APIs do, each in its module, independent of how a call arrived."""
