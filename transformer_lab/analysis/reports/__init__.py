"""Reports: a finding as a page, and as a file from which it can be reproduced."""
