"""Calls of dask workers that are no tasks.

However little it does, a pass over parts takes a dozen milliseconds as tasks: the
scheduler is told of them, places them, has them run, is told of what they return, and
has it sent. Most passes of training ask of parts that are there and make none. Those
are run by ``Client.run``, on the threads that tasks have, in some four milliseconds.

What is no longer where it was, or is made, is for tasks: dask can make it again.
"""

import asyncio
import logging
from collections import defaultdict, namedtuple
from functools import partial

__all__ = ["called"]

There = namedtuple("There", "key")  # stands for what a worker holds
logger = logging.getLogger(__name__)


def called(client, function, same, held):
    """Return what a function returns of each part; None if that is for tasks.

    It is where a part is not made yet, where a worker is lost, and where the function
    fails: as a task it fails again, with the traceback that dask gives.

    Parameters
    ----------
    client : distributed.Client
        The client of the cluster.
    function : callable
        Of a module; called for each part with ``same`` and what is held for it.
    same : tuple
        Arguments that are the same for all parts.
    held : list of list or Spread
        Lists have one argument a part. Samples are on the workers.
    """
    samples = [each.futures for each in held if not isinstance(each, list)]
    futures = [future for each in samples for future in each]
    if not futures or any(future.status != "finished" for future in futures):
        return None
    parts = list(zip(*map(_sent, held), strict=True))
    try:
        # Asked again for each call: to connect with a worker that is lost takes half a
        # minute, and the scheduler knows at once.
        own = _shared_out(samples, client.who_has(futures))
        asked = {place: [parts[k] for k in ks] for place, ks in own.items()}
        answers = client.run(_on_worker, function, same, asked, workers=list(own))
        found = {}
        for place, ks in own.items():
            found.update(zip(ks, answers[place], strict=True))
    except Exception:
        logger.debug("A call of workers is left to tasks.", exc_info=True)
        return None
    return [found[k] for k in range(len(parts))]


def _shared_out(samples, places):
    """Return the parts that each worker is to answer for, (worker: indices)."""
    own = defaultdict(list)
    for k, part in enumerate(zip(*samples, strict=True)):
        held_at = set.intersection(*(set(places[future.key]) for future in part))
        at = min(held_at, key=lambda place: (len(own.get(place, ())), place))
        own[at].append(k)
    return own


def _sent(each):
    """Return the items of arguments, or what stands for samples, one a part."""
    if isinstance(each, list):
        return each
    return [There(future.key) for future in each.futures]


async def _on_worker(function, same, asked, dask_worker):
    """On a worker: return what a function returns of each of its parts.

    Parts are looked up on the worker's event loop, which alone moves them, and only
    when a thread is free for them: they may have been put on disk.
    """
    loop, threads = asyncio.get_running_loop(), dask_worker.executors["default"]
    free = asyncio.Semaphore(dask_worker.state.nthreads)

    async def of(part):
        async with free:
            data = dask_worker.data
            held = (data[x.key] if isinstance(x, There) else x for x in part)
            call = partial(function, *same, *held)
            return await loop.run_in_executor(threads, call)

    return await asyncio.gather(*map(of, asked[dask_worker.address]))
