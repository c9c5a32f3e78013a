"""The pool of host accounts: which of them serves a file, one slot of it at a time, and how it fares with its platform.

All that is known lies in Postgres, so that several processes agree.
"""

from services.unrestrict_proxy.pool.leases import KEEP_SECONDS, NoSlot
from services.unrestrict_proxy.pool.pool import Lease, Pool
from services.unrestrict_proxy.pool.search import PoolShort

__all__ = ["KEEP_SECONDS", "Lease", "NoSlot", "Pool", "PoolShort"]
