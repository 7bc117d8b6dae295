# SPDX-License-Identifier: Apache-2.0
"""nodeport_native_test - services asked from outside; nodes reach each other's
pods by routes.  The scene is in nodeport_cases.py.
"""
import nodeport_cases
from stage import done, test

nodeport_cases.run_all(nodeport_cases.Scene("--routing", "native"), test)
done()
