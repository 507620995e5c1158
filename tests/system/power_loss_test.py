#!/usr/bin/env python3
"""Power loss: of the images that a cut may leave, none lacks what was acknowledged before it. With syncs that do
nothing the same test must find losses, else it could not see.

usage: power_loss_test.py [--images N] [--jobs N]
"""

import argparse
import os
import random
import shutil
import subprocess

import harness
import power_loss
from harness import check, gate
from workload import Workload

JUDGE = os.path.join(harness.BUILD, "tests", "system", "judge_images")
IMAGES_OF_ONE = 250   # recorded node; then another one, as its record has only so many places
REQUESTS = 30         # acknowledged in each of its two lives: what an image holds is what judging it costs
SERVED_EVERY = 100    # images a node is started on one
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # nothing of an image need last


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

    def live(self, requests, then=None, more=0):
        """One life of the node until so many are acknowledged, ended by kill -9; `more` of them while syncs do `then`."""
        node = self.node()
        self.load.start(node.url)
        self.load.advance(requests)
        if then:
            self.say(then)
            self.load.advance(more)
        node.kill()
        power_loss.cut_short(self.out, self.log)
        self.load.stop()

    def images(self, count, chances, after=0):
        """Yields (folder, end of the record, disk) at `count` random places."""
        everything = list(power_loss.entries(self.out))
        eligible = [i for i, e in enumerate(everything) if e[0] > after]
        chosen = sorted(random.sample(eligible, min(count, len(eligible))))
        disk, taken = power_loss.Disk(), 0
        with harness.Folder(parent=MEMORY) as images:
            for number, index in enumerate(chosen):
                for _, kind, file, at, data in everything[taken:index + 1]:
                    disk.take(kind, file, at, data)
                taken = index + 1
                path = os.path.join(images.path, f"image-{number}")
                disk.image(os.path.join(path, "log"), random.choice(chances))
                # A key is synced before anything is sealed with it, so a cut takes none that the log needs.
                shutil.copytree(os.path.join(self.folder.data, "keys"), os.path.join(path, "keys"))
                yield path, everything[index][0]
                shutil.rmtree(path)


class Judge:
    """What of the acknowledged an image lacks; judge_images reads them in one process."""

    def __init__(self, recorded):
        acknowledged = recorded.folder.path + "/acknowledged.tsv"
        with open(acknowledged, "w", encoding="utf-8") as f:
            for r in recorded.load.acked:
                f.write(f"{r.acked_at}\t{recorded.load.tenant}:{r.key}\t{r.answer[2]}\n")
        self._process = subprocess.Popen([JUDGE, acknowledged], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def lost_in(self, image, end):
        self._process.stdin.write(f"{image}\t{end}\n")
        self._process.stdin.flush()
        verdict, _, what = self._process.stdout.readline().strip().partition(" ")
        check(verdict in ("whole", "lost"), f"an image of {end} bytes of the record: {verdict or 'the judge ended:'} {what}")
        return int(what.split()[0]) if verdict == "lost" else 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait(10)


def serves(recorded, image, end):
    """A node on the image gives the first answers again."""
    with harness.Folder() as folder:
        node = folder.node(*recorded.flags, data=image).wait_ready()
        held = [r for r in recorded.load.acked if r.acked_at <= end]
        recorded.load.check_replays(node.url, random.sample(held, min(10, len(held))))


def real_syncs(count, upstream):
    """(images, acknowledged) of one recorded folder."""
    with harness.Folder() as folder:
        recorded, images = Recorded(folder, upstream), 0
        recorded.live(REQUESTS)
        recorded.live(REQUESTS)  # a second life: it continues a segment
        with Judge(recorded) as judge:
            for image, end in recorded.images(count, (0.0, 0.3, 0.7, 1.0)):
                lost = judge.lost_in(image, end)
                check(lost == 0, f"{lost} acknowledged writes lost in a cut after {end} bytes of the record")
                images += 1
                if images % SERVED_EVERY == 0:
                    serves(recorded, image, end)
        return images, len(recorded.load.acked)


def control_run(upstream):
    """(images, those of them in which something is lost)."""
    with harness.Folder() as folder:
        recorded = Recorded(folder, upstream)
        recorded.live(REQUESTS, "n", 4 * REQUESTS)
        with Judge(recorded) as judge:
            found = [judge.lost_in(image, end) for image, end in
                     recorded.images(6, (0.0,), after=0.9 * os.path.getsize(recorded.out))]
        return len(found), sum(lost > 0 for lost in found)


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=1, help="recorded nodes at a time")
    options = parser.parse_args()
    with harness.Upstream() as upstream:
        made, acked = 0, 0
        while made < options.images:
            for images, acks in harness.each(harness.shares(options.images - made, IMAGES_OF_ONE),
                                             lambda share: real_syncs(share, upstream), options.jobs):
                made, acked = made + images, acked + acks
        gate("R8", f"{made} images, {acked} acknowledged, 0 lost", "0 lost", True)
        images, lost = control_run(upstream)
        gate("R8-control", f"syncs that do nothing: losses seen in {lost} of {images} images", "all",
             lost == images and images > 0)


if __name__ == "__main__":
    harness.main(run)
