#!/usr/bin/env python3
"""Check the types of what users see: python .ci/check_types.py, where fastopt is installed and not editable.

1. The code of the documentation's pages has no type error in pyright's standard mode.
2. Of the public names (docs/public_api.py) and their members, at least `THRESHOLD` have complete types.

With `--list`, every public name without complete types is printed, with pyright's reasons.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs"))

import code_blocks  # noqa: E402
import public_api  # noqa: E402

#: Share of public names whose types pyright must know completely.
THRESHOLD = 0.95

#: Of the pages: other libraries may be absent, and showing a value by naming it is what examples do.
SETTINGS = {
    "typeCheckingMode": "standard",
    "reportMissingImports": "none",
    "reportMissingModuleSource": "none",
    "reportUnusedExpression": "none",
    "reportUnusedCoroutine": "none",
}


def pyright(*arguments, cwd):
    """Run pyright on the packages of this interpreter; return its report.

    pyright looks for it in PATH, as in an activated environment: `--verifytypes` ignores `--pythonpath`.
    """
    command = [sys.executable, "-m", "pyright", "--outputjson", *arguments]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        sys.exit(f"pyright did not run:\n{done.stdout}{done.stderr}")


def check_pages():
    """Return the number of type errors in the pages' code, after printing each with its line in the page."""
    with tempfile.TemporaryDirectory() as folder:
        pages = {f"{page.stem.replace('-', '_')}.py": page for page in code_blocks.pages()}
        for name, page in pages.items():
            Path(folder, name).write_text(code_blocks.python(page, is_run=False), "utf-8")
        Path(folder, "pyrightconfig.json").write_text(json.dumps(SETTINGS), "utf-8")
        report = pyright(cwd=folder)
    errors = [found for found in report["generalDiagnostics"] if found["severity"] == "error"]
    for error in errors:
        page = pages[Path(error["file"]).name].relative_to(ROOT)
        print(f"{page}:{error['range']['start']['line'] + 1}: {error['message']}")
    print(f"{len(errors)} type errors in the code of {len(pages)} pages")
    return len(errors)


def is_public(symbol, places):
    """Tell whether a symbol of pyright's is a public name, or a member of one."""
    return symbol["isExported"] and any(
        symbol["name"] == place or symbol["name"].startswith(f"{place}.") for place in places
    )


def public_places():
    """Return the full names under which public things and their bases are exported or defined."""
    places = set()
    for module in public_api.MODULES:
        for name in public_api.names(module):
            thing = getattr(importlib.import_module(module), name)
            places.add(f"{module}.{name}")
            for base in thing.__mro__ if isinstance(thing, type) else [thing]:
                home = getattr(base, "__module__", "") or ""
                if home.partition(".")[0] == "fastopt" and hasattr(base, "__qualname__"):
                    places.add(f"{home}.{base.__qualname__}")
    return places


def check_completeness(is_listed):
    """Return the share of public symbols whose types are known."""
    with tempfile.TemporaryDirectory() as folder:  # elsewhere: beside the sources, pyright would read those
        report = pyright("--verifytypes", "fastopt", "--ignoreexternal", cwd=folder)
    places = public_places()
    public = [s for s in report["typeCompleteness"]["symbols"] if is_public(s, places)]
    if not public:
        sys.exit(f"pyright found nothing of fastopt: {report['generalDiagnostics']}")
    unknown = [s for s in public if not s["isTypeKnown"]]
    for symbol in unknown if is_listed else ():
        reasons = {d["message"].partition("\n")[0] for d in symbol["diagnostics"]}
        print(f"{symbol['name']} ({symbol['category']}): {'; '.join(sorted(reasons))}")
    share = 1 - len(unknown) / len(public)
    whole = report["typeCompleteness"]["completenessScore"]
    print(f"{share:.1%} of {len(public)} public symbols have complete types (whole package: {whole:.1%})")
    return share


if __name__ == "__main__":
    n_errors = check_pages()
    share = check_completeness("--list" in sys.argv[1:])
    if share < THRESHOLD:
        print(f"less than {THRESHOLD:.0%}: python .ci/check_types.py --list names them")
    sys.exit(n_errors > 0 or share < THRESHOLD)
