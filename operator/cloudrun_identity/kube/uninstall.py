"""The end of our kinds where no operator can serve them any more: nothing may hold it up."""

from .crds import CrdState, installed
from .finalizers import Finalizers
from .objects import resource
from .resources import Verbs


async def remove_finalizers(client: Verbs) -> int:
    """Take our finalizer off every object whose kind is being deleted; returns how many there were.

    A kind goes when its last object has, and these go with their kind: nobody asks for anything of theirs in
    Google Cloud to be undone. Raises `KubeError`.
    """
    finalizers, count = Finalizers(client), 0
    for kind, state in (await installed(client)).items():
        if state is CrdState.DELETING:
            for obj in await client.list(resource(kind)):
                await finalizers.remove(obj)
                count += 1
    return count
