"""Builds the wheel, holds it against the source, and uses it where the source is not.

`make wheel` runs it. The clean environment takes the tools, torch among them, from the one that
runs this script, and odestab from the wheel alone.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGES = ("odestab", "analysis", "figures", "imbert")
IMPORTED = f"""
import {", ".join(PACKAGES)}
for package in ({", ".join(PACKAGES)}):
    print(package.__file__)
"""
ALONE = "import sys; sys.modules['matplotlib'] = None; import odestab; odestab.load_encoder"
COMMANDS = (
    "odestab --help",
    "imbert --help",
    # small enough for half a minute: one short text, one layer, no full spectrum
    "odestab analyze --texts texts.txt --layers 0 --dense-limit 1 --workers 1 --out run",
)


def main(out: pathlib.Path) -> None:
    """Build, compare, install, use; raises at the first thing that is not as it must be."""
    wheel = build(out)
    compare(wheel)
    with tempfile.TemporaryDirectory() as folder:
        use(wheel, pathlib.Path(folder))
    size = wheel.stat().st_size / 2**20
    sys.stdout.write(f"{wheel}: {size:.1f} MiB, complete and usable\n")


def build(out: pathlib.Path) -> pathlib.Path:
    """The wheel of the source as it is."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.rmtree(ROOT / "build" / "lib", ignore_errors=True)  # holds files that are gone
    pip("wheel", "--no-deps", "--wheel-dir", str(out), str(ROOT))
    [wheel] = out.glob("odestab-*.whl")
    return wheel


def compare(wheel: pathlib.Path) -> None:
    """Refuse a wheel that lacks a file of the packages or has another one, or that does not show
    the README.
    """
    expected = {
        file.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        [metadata] = [name for name in archive.namelist() if name.endswith("/METADATA")]
        description = archive.read(metadata).decode()
    if names != expected:
        raise SystemExit(f"{wheel}: not the files of the source: {sorted(names ^ expected)}")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    if "Description-Content-Type: text/markdown" not in description or readme not in description:
        raise SystemExit(f"{wheel}: expected README.md as its long description")


def use(wheel: pathlib.Path, folder: pathlib.Path) -> None:
    """Install it into a clean environment, and run what a user runs."""
    venv.create(folder / "clean", with_pip=False)
    scripts = folder / "clean" / ("Scripts" if os.name == "nt" else "bin")
    pip("--python", str(scripts / "python"), "install", "--no-deps", str(wheel))
    [packages] = (folder / "clean").glob("**/site-packages")
    # a path in a .pth file: found after the wheel, and its own .pth files are not read
    (packages / "tools.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    places = run(str(scripts / "python"), "-c", IMPORTED, cwd=folder).splitlines()
    if not all(pathlib.Path(place).is_relative_to(packages) for place in places):
        raise SystemExit(f"expected the packages of the wheel, got {places}")
    run(str(scripts / "python"), "-c", ALONE, cwd=folder)
    (folder / "texts.txt").write_text("Good morning\n", encoding="utf-8")
    for line in COMMANDS:
        command, *options = line.split()
        run(str(scripts / command), *options, cwd=folder)
    if not (folder / "run" / "report.html").is_file():
        raise SystemExit("expected a report of the analysis")


def pip(*options: str) -> None:
    """Run pip of this environment."""
    run(sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *options, cwd=ROOT)


def run(*command: str, cwd: pathlib.Path) -> str:
    """What a command prints; the source is not on its path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build" / "wheel")
    main(parser.parse_args().out)
