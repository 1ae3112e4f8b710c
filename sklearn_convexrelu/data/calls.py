"""Calls of dask workers that do not go by way of the scheduler.

However little it does, a pass over parts takes a dozen milliseconds as tasks: the
scheduler is told of them, places them, has them run, is told of what they return, and
has it sent. Most passes of training ask of parts that are there and make none. An actor
on each worker answers those in two or three milliseconds where the client may reach
workers (``Client(..., direct_to_workers=True)``), in three or four where the scheduler
hands messages on.

What is no longer where it was, or is made, is for tasks: dask can make it again.
"""

import asyncio
from collections import defaultdict, namedtuple
from concurrent.futures import ThreadPoolExecutor
from functools import partial

__all__ = ["Calls"]

There = namedtuple("There", "key")  # stands for what a worker holds
_PATIENCE = 1.0  # seconds until we ask whether a worker is there; answers do not wait


class Calls:
    """Actors on the workers of a client.

    Parameters
    ----------
    client : distributed.Client
        The client of the cluster.
    """

    def __init__(self, client):
        self.client, self.actors = client, {}

    def run(self, function, same, held):
        """Return what a function returns of each part; None if that is for tasks.

        Parameters
        ----------
        function : callable
            Of a module; called for each part with ``same`` and what is held for it.
        same : tuple
            Arguments that are the same for all parts.
        held : list of list or Spread
            Lists have one argument a part. Samples are on the workers; their ``places``
            note where.
        """
        samples = [each for each in held if not isinstance(each, list)]
        try:
            return self._answers(function, same, held, samples)
        except Exception:
            # A part has gone, or its worker: tasks make it again. Or the function has
            # failed: it does so as a task, too, with the traceback that dask gives.
            for each in samples:
                each.places = None
            return None

    def _answers(self, function, same, held, samples):
        if not self._are_known(samples):
            return None
        own = defaultdict(list)
        held_at = zip(*(each.places for each in samples), strict=True)
        for k, places in enumerate(held_at):
            own[min(set.intersection(*places))].append(k)
        parts = list(zip(*map(_sent, held), strict=True))
        with self.client.as_current():
            actors = {place: self._actor(place) for place in own}
            answers = {
                place: actor.run(function, same, [parts[k] for k in own[place]])
                for place, (actor, _) in actors.items()
            }
            found = {}
            for place, answer in answers.items():
                _, future = actors[place]
                found.update(zip(own[place], _waited(answer, future), strict=True))
        return [found[k] for k in range(len(parts))]

    def _are_known(self, samples):
        """Find where samples are; tell whether that is known, as of what is made."""
        unknown = [each for each in samples if each.places is None]
        futures = [future for each in unknown for future in each.futures]
        if not samples or any(future.status != "finished" for future in futures):
            return False
        found = self.client.who_has(futures) if futures else {}
        for each in unknown:
            each.places = [set(found[future.key]) for future in each.futures]
        return True

    def _actor(self, place):
        """Return the actor of a worker, and the future that keeps it there."""
        if place not in self.actors:
            # On another worker if that one is lost by now: it will lack the parts.
            future = self.client.submit(
                OnWorker,
                actor=True,
                workers=[place],
                allow_other_workers=True,
                pure=False,
            )
            self.actors[place] = future.result(), future
        return self.actors[place]


def _waited(answer, future):
    """Return an answer; raise where the actor is lost, of which answers hear late."""
    while True:
        try:
            return answer.result(timeout=_PATIENCE)
        except TimeoutError:
            if answer.done() or future.status != "finished":
                raise


def _sent(each):
    """Return the items of arguments, or what stands for samples, one a part."""
    if isinstance(each, list):
        return each
    return [There(future.key) for future in each.futures]


class OnWorker:
    """Actor: calls functions on parts that its worker holds, on as many threads."""

    def __init__(self):
        from distributed import get_worker

        self.worker = get_worker()
        self.threads = ThreadPoolExecutor(self.worker.state.nthreads)

    async def run(self, function, same, parts):
        """Return what a function returns of each part; a ``KeyError`` if one is gone.

        On the worker's event loop, which alone moves parts; the work is for threads.
        """
        held = [[self._item(each) for each in part] for part in parts]
        calls = (partial(function, *same, *part) for part in held)
        loop = asyncio.get_running_loop()
        return await asyncio.gather(
            *(loop.run_in_executor(self.threads, call) for call in calls)
        )

    def _item(self, each):
        return self.worker.data[each.key] if isinstance(each, There) else each
