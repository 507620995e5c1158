#!/usr/bin/env python3
"""Power loss: of the images that a cut may leave, none lacks what was acknowledged before it. With syncs that do
nothing the same test must find losses, else it could not see.

usage: power_loss_test.py [--images N]
"""

import argparse
import os
import random
import shutil
import time

import harness
import power_loss
from harness import check, gate
from workload import Workload


class Recorded:
    """A node under load with the recorder in it; acknowledgements know how long the record was after them."""

    def __init__(self, folder, upstream):
        self.folder, self.out, self.control = folder, folder.path + "/record", folder.path + "/control"
        self.log = os.path.join(folder.data, "log")
        self.flags = (*upstream.flags, "--segment-bytes", "1048576", "--postgres", harness.NO_POSTGRES)
        self.env = {"LD_PRELOAD": harness.SHIM, "SYNC_RECORDER_FOLDER": self.log, "SYNC_RECORDER_OUT": self.out,
                    "SYNC_RECORDER_CONTROL": self.control}
        self.load = Workload(folder.path + "/acknowledged.log", clients=4, on_ack=self._note)

    def _note(self, request):
        request.acked_at = os.path.getsize(self.out)

    def node(self):
        return self.folder.node(*self.flags, env=self.env).wait_ready()

    def say(self, what):
        with open(self.control + ".new", "w", encoding="ascii") as f:
            f.write(what)
        os.rename(self.control + ".new", self.control)

    def run(self, seconds, then=None, more_s=0.0):
        node = self.node()
        self.load.start(node.url)
        time.sleep(seconds)
        if then:
            self.say(then)
            time.sleep(more_s)
        return node

    def images(self, count, chances, after=0):
        """Yields (folder, end of the record, disk) at `count` random places."""
        everything = list(power_loss.entries(self.out))
        eligible = [i for i, e in enumerate(everything) if e[0] > after]
        chosen = sorted(random.sample(eligible, min(count, len(eligible))))
        disk, taken = power_loss.Disk(), 0
        for number, index in enumerate(chosen):
            for _, kind, file, at, data in everything[taken:index + 1]:
                disk.take(kind, file, at, data)
            taken = index + 1
            path = os.path.join(self.folder.path, f"image-{number}")
            disk.image(os.path.join(path, "log"), random.choice(chances))
            # A key is synced before anything is sealed with it, so a cut takes none that the log needs.
            shutil.copytree(os.path.join(self.folder.data, "keys"), os.path.join(path, "keys"))
            yield path, everything[index][0]
            shutil.rmtree(path)


def lost_in(image, end, load):
    """Acknowledged before the cut, and not in the image."""
    before = [r for r in load.acked if r.acked_at <= end]
    code, out, err = harness.soma("verify", "--deep", data=image)
    if code == 3 and not os.path.exists(image + "/log/00000000000000000000.seg"):
        return before
    check(code == 0, f"an image does not verify: exit {code} {out} {err}")
    commands = harness.journal(image)
    twice = [c for c, found in commands.items() if len(found) > 1]
    check(not twice, f"recorded twice: {twice[:3]}")
    return [r for r in before if f"demo:{r.key}" not in commands]


def real_syncs(count, upstream):
    with harness.Folder() as folder:
        recorded = Recorded(folder, upstream)
        node = recorded.run(1.5)
        node.kill()
        recorded.load.stop()
        recorded.run(1.5).kill()  # a second life: it continues a segment
        recorded.load.stop()
        acked, images, lost = len(recorded.load.acked), 0, []
        for image, end in recorded.images(count, (0.0, 0.3, 0.7, 1.0)):
            images += 1
            lost += lost_in(image, end, recorded.load)
            if images % 25 == 0:  # and it serves: the first answers again
                again = folder.node(*recorded.flags, data=image).wait_ready()
                held = [r for r in recorded.load.acked if r.acked_at <= end]
                recorded.load.check_replays(again.url, random.sample(held, min(10, len(held))))
                again.kill()
        check(acked > 100, f"only {acked} acknowledged: too few to prove anything")
        check(not lost, f"{len(lost)} acknowledged writes lost, first {lost[:1] and lost[0].answer}")
        return images, acked


def control_run(upstream):
    with harness.Folder() as folder:
        recorded = Recorded(folder, upstream)
        node = recorded.run(0.5, "n", 1.0)
        node.kill()
        recorded.load.stop()
        lost, images = 0, 0
        for image, end in recorded.images(6, (0.0,), after=0.9 * os.path.getsize(recorded.out)):
            images += 1
            lost += bool(lost_in(image, end, recorded.load))
        return images, lost


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=60)
    count = parser.parse_args().images
    with harness.Upstream() as upstream:
        images, acked = real_syncs(count, upstream)
        gate("R8", f"{images} images, {acked} acknowledged, 0 lost", "0 lost", images >= min(50, count))
        images, lost = control_run(upstream)
        gate("R8-control", f"syncs that do nothing: losses seen in {lost} of {images} images", "all",
             lost == images and images > 0)


if __name__ == "__main__":
    harness.main(run)
