"""Build the worker image's file system without a container engine, and try it: for machines that have none.

    sudo python3 infra/docker/try_without_docker.py --boot BOOT FOLDER

Executes infra/docker/Dockerfile line by line in chroots: COPY, RUN, ENV, ARG, USER and WORKDIR as they are written. What
cannot be pulled is replaced, and only that: the Python image by a Debian 12 with its own Python 3.11 (debootstrap),
Beam's image by a folder with `boot`, which is written in Go and comes with

    CGO_ENABLED=0 go install github.com/apache/beam/sdks/v2/python/container@v2.77.0

Then it tries the image as its own user. Prints a line for each check; 1 when one failed. FOLDER holds some 3 GB after.
"""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
DOCKERFILE = CHECKOUT / "infra" / "docker" / "Dockerfile"
PACKAGES = "python3,python3-venv,ca-certificates"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Stage:
    """A root file system being built, and what the Dockerfile said of it so far."""

    root: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    arguments: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "0:0"

    def inside(self, path: str) -> Path:
        """Where a path of the image lies on this machine."""
        return self.root / (Path(self.folder) / path).relative_to("/")

    def run(
        self, command: str, *, user: str | None = None, read_only: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command in the root, with the image's environment and nothing of this machine's.

        Args:
            command: for `/bin/sh -c`.
            user: `UID:GID` instead of the image's.
            read_only: mount the root read-only, with a temporary /tmp, as `docker run --read-only --tmpfs /tmp` does.
        """
        uid, _, gid = (user or self.user).partition(":")
        home = "/root" if uid == "0" else "/home/mdfp"
        variables = {"HOME": home, **self.arguments, **self.environment}
        chroot = ["chroot", f"--userspec={uid}:{gid or 0}", "--groups=", str(self.root)]
        inner = [*chroot, "env", "-i", *(f"{k}={v}" for k, v in variables.items())]
        inner += ["/bin/sh", "-c", f"cd {shlex.quote(self.folder)} && {command}"]
        root = shlex.quote(str(self.root))
        mounts = [f"mount -t proc proc {root}/proc", f"mount --rbind /dev {root}/dev"]
        if read_only:
            mounts += [
                f"mount --bind {root} {root}",
                f"mount -o remount,ro,bind {root}",
                f"mount -t tmpfs tmpfs {root}/tmp",
            ]
            mounts += [mounts.pop(0), mounts.pop(0)]
        script = " && ".join([*mounts, "exec " + shlex.join(inner)])
        return subprocess.run(["unshare", "--mount", "sh", "-c", script], text=True, capture_output=True)


def instructions(text: str) -> list[tuple[str, str]]:
    """(instruction, rest) of each line of a Dockerfile, comments dropped and continuations joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    words = (line.strip().partition(" ") for line in joined.splitlines() if line.strip())
    return [(first.upper(), rest.strip()) for first, _, rest in words]


def pairs(rest: str) -> dict[str, str]:
    """`A=1 B="two words"` of an ENV, ARG or LABEL as a mapping; an ARG without a value is left out."""
    return dict(word.split("=", 1) for word in shlex.split(rest) if "=" in word)


def expanded(text: str, values: dict[str, str]) -> str:
    """`$NAME` and `${NAME}` replaced; a name that is not known becomes empty, as in a Dockerfile."""
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda m: values.get(m[1] or m[2], ""), text)


def let_in(path: str, ignore: str) -> bool:
    """Whether a .dockerignore lets a file into the build: the last rule that matches it, or a folder above it, decides.

    Covers what moby's patternmatcher does with `*`, `?`, `**`, `[…]` and `!`.
    """
    kept = True
    for line in ignore.splitlines():
        rule = line.strip()
        if not rule or rule.startswith("#"):
            continue
        pattern = rule.removeprefix("!").strip("/")
        tokens = re.split(r"(\*\*/|\*\*|\*|\?|\[[^]]*\])", pattern)
        special = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
        regex = "".join(special.get(t) or (t if t.startswith("[") else re.escape(t)) for t in tokens)
        if re.fullmatch(f"{regex}(?:/.*)?", path):
            kept = rule.startswith("!")
    return kept


def context() -> list[str]:
    """Files of the checkout, as git knows them, that .dockerignore lets into the image."""
    ignore = (CHECKOUT / ".dockerignore").read_text()
    command = ["git", "-c", f"safe.directory={CHECKOUT}", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=CHECKOUT, check=True, text=True, capture_output=True).stdout.splitlines()
    return [p for p in listed if (CHECKOUT / p).is_file() and let_in(p, ignore)]


def base(folder: Path) -> Path:
    """A Debian 12 with Python 3.11, made once."""
    root = folder / "debian"
    if not (root / "usr/bin/python3.11").exists():
        shutil.rmtree(root, ignore_errors=True)
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(root)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
        # Where a proxy signs for the package index, its certificate is among this machine's.
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", root / "etc/ssl/certs/ca-certificates.crt")
        for name in ("proc", "dev"):
            (root / name).mkdir(exist_ok=True)
        (root / "etc/hosts").write_text(f"127.0.0.1 localhost {socket.gethostname()}\n")  # which an engine writes
    return root


def build(folder: Path, boot: Path, *, run: bool = True) -> Stage:
    """Execute the Dockerfile, or only learn from it what an image that was built before is run with; the last stage."""
    debian, files = base(folder), context()
    stages: dict[str, Stage] = {}
    outer: dict[str, str] = {}
    stage: Stage | None = None
    for word, rest in instructions(DOCKERFILE.read_text()):
        start = time.monotonic()
        if word == "FROM":
            image, _, name = expanded(rest, outer).partition(" AS ")
            stage = stages[name] = Stage(folder / name)
            if not run:
                continue
            shutil.rmtree(stage.root, ignore_errors=True)
            if "beam" in image:
                target = stage.root / "opt/apache/beam/boot"
                target.parent.mkdir(parents=True)
                shutil.copy(boot, target)
            else:
                subprocess.run(["cp", "--archive", "--reflink=auto", str(debian), str(stage.root)], check=True)
        elif stage is None:
            outer |= pairs(rest)  # ARG before the first FROM
        elif word in ("COPY", "RUN") and not run:
            continue
        elif word == "COPY":
            copy(stage, rest, stages, files)
        elif word == "RUN":
            done = stage.run(f"export PIP_CERT=/etc/ssl/certs/ca-certificates.crt && {rest}")
            if done.returncode:
                sys.exit(f"RUN {rest}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}\nexit code {done.returncode}")
        elif word == "ARG":
            stage.arguments |= pairs(expanded(rest, stage.arguments))
        elif word == "ENV":
            stage.environment |= pairs(expanded(rest, stage.arguments | stage.environment))
        elif word == "USER":
            stage.user = expanded(rest, stage.arguments)
        elif word == "WORKDIR":
            stage.folder = rest
            stage.inside(".").mkdir(parents=True, exist_ok=True)
        elif word not in ("LABEL", "ENTRYPOINT"):
            sys.exit(f"{word} {rest}: not known here")
        print(f"{time.monotonic() - start:6.1f} s  {word} {rest[:90]}", flush=True)
    assert stage is not None
    return stage


def copy(stage: Stage, rest: str, stages: dict[str, Stage], files: list[str]) -> None:
    """COPY, from another stage or from the build's context."""
    *sources, target = [w for w in rest.split() if not w.startswith("--")]
    other = re.match(r"--from=(\w+)", rest)
    if other:
        stage.inside(target).parent.mkdir(parents=True, exist_ok=True)
        source = stages[other[1]].inside(sources[0])
        subprocess.run(["cp", "--archive", "--no-target-directory", str(source), str(stage.inside(target))], check=True)
        return
    chosen = files if sources == ["."] else [f for f in files if f in sources]
    for name in chosen:
        to = stage.inside(target) / name
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(CHECKOUT / name, to)


SUMS = "sha256sum $(find {}/shards -name '*.tar') | cut -c1-64 | sort | sha256sum"
BUILD = "cd /tmp && python -m pipelines demo --folder /tmp/{} --workers 1 --quiet --json && " + SUMS.format(
    "/tmp/{}/corpus"
)
TOOLS = "for tool in gcc cc make git curl wget; do command -v $tool && exit 1; done; exit 0"
WRITABLE = "find /opt /usr -writable -not -type l | head -3 | grep . && exit 1 || exit 0"
POOL = """
# Command and pool find the key each by itself: no job carries it.
export MDFP_PATIENT_KEY=$(python -c 'from pipelines.demo import KEY; print(KEY)')
cd /tmp && /opt/apache/beam/boot --worker_pool > pool.log 2>&1 & pool=$!
cd /tmp && python - > arguments <<'END'
from examples import phantom
print(*(f"--root={source}=/tmp/writable/bucket/{source}" for source in phantom.SOURCES))
END
timeout 300 python -m pipelines run \\
  /opt/mdfp/examples/recipes/demo.yaml --out /tmp/pool --max-holes 0.5 --quiet --json $(cat arguments) -- \\
  --runner=PortableRunner --job_endpoint=embed --environment_type=EXTERNAL --environment_config=localhost:50000
code=$?; kill $pool; [ $code = 0 ] || { tail -30 pool.log >&2; exit 1; }
""" + SUMS.format("/tmp/pool")


def check(image: Stage) -> bool:
    """Try the image; print a line for each rule."""
    kernels = image.root / "var/cache/mdfp/numba"
    before = set(kernels.rglob("*.nbc"))
    trials = {
        "runs as somebody who is not root": image.run("test $(id -u) != 0"),
        "has no compiler and no tool that downloads": image.run(TOOLS),
        "its user cannot change code or packages": image.run(WRITABLE),
        "builds the demo's corpus": image.run(BUILD.replace("{}", "writable")),
        "builds it with a read-only root": image.run(BUILD.replace("{}", "readonly"), read_only=True),
        "builds it for a user id that the platform chose": image.run(BUILD.replace("{}", "other"), user="54321:0"),
        "builds it in workers that Beam's boot starts": image.run(POOL),
    }
    results = {name: done.returncode == 0 for name, done in trials.items()}
    sums = {t.stdout.strip().splitlines()[-1] for n, t in trials.items() if n.startswith("builds") and t.stdout.strip()}
    results["the shards have the same bytes each time"] = len(sums) == 1
    results["compiles no kernel anew"] = before == set(kernels.rglob("*.nbc")) and bool(before)
    for name, good in results.items():
        print(f"{'ok  ' if good else 'FAIL'}  {name}")
        if not good and name in trials:
            print(trials[name].stdout[-1500:], trials[name].stderr[-1500:])
    print(f"shards: {', '.join(sums)}; {len(before)} kernels in the image")
    return all(results.values())


def main() -> int:
    """Build and try; 1 when a check failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the file systems go")
    parser.add_argument("--boot", type=Path, required=True, help="Beam's boot, compiled")
    parser.add_argument("--again", action="store_true", help="try the image that is there, without building it anew")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    return 0 if check(build(options.folder.resolve(), options.boot, run=not options.again)) else 1


if __name__ == "__main__":
    sys.exit(main())
