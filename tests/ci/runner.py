"""A runner of GitHub Actions, as far as its documents say what a step gets and leaves: files, commands, masks.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
https://docs.github.com/en/actions/reference/workflows-and-actions/metadata-syntax
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_NAMES = re.compile(r"'[^']*'|[a-z]+(?:\.[\w-]+)+|hashFiles\(|always\(\)|cancelled\(\)|&&|\|\||!(?!=)")


@dataclass
class Step:
    """What one step has left: both streams as one text, its summary, and how it ended."""

    name: str
    printed: str = ""
    summary: str = ""
    outcome: str = "skipped"


@dataclass
class Job:
    """A job in a checkout, and what its steps have left."""

    workspace: Path
    home: Path
    environ: dict[str, str]
    actions: dict[str, Path]
    github: dict[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)
    path: list[str] = field(default_factory=list)
    failed: bool = False

    @property
    def log(self) -> str:
        """What people see: commands are taken out, and what is masked is stars."""
        lines = [
            line for each in self.steps for line in each.printed.splitlines() if not line.startswith("::add-mask::")
        ]
        text = "\n".join(lines)
        for mask in self.masks:
            text = text.replace(mask, "***")
        return text

    def annotations(self) -> list[tuple[str, dict[str, str], str]]:
        """Return every annotation, with its kind, its properties and its message."""
        found = []
        for line in (line for each in self.steps for line in each.printed.splitlines()):
            if match := re.match(r"::(error|warning|notice) ([^:]*)::(.*)", line):
                properties = dict(each.split("=", 1) for each in match[2].split(",") if each)
                found.append((match[1], properties, match[3].replace("%0A", "\n").replace("%25", "%")))
        return found

    def run(self, workflow: str) -> None:
        """Run the only job of a workflow."""
        (job,) = yaml.safe_load(workflow)["jobs"].values()
        self._all(job["steps"], {"github": self.github})

    def _all(self, steps: list[dict[str, Any]], context: dict[str, Any], action: Path | None = None) -> None:
        context["steps"] = {}
        for each in steps:
            name = each.get("name") or each.get("uses") or each["run"].splitlines()[0]
            condition = str(each.get("if", "success"))
            is_asked = "()" in condition
            due = not self.failed if not is_asked and condition == "success" else self._is_due(condition, context)
            if due and "uses" in each:
                self._use(each, context)
                outcome = "failure" if self.failed and not is_asked else "success"
                outputs = self._outputs
            elif due:
                outcome, outputs = self._shell(name, each, context, action)
            else:
                self.steps.append(Step(name))
                outcome, outputs = "skipped", {}
            if "id" in each:
                context["steps"][each["id"]] = {"outputs": outputs, "outcome": outcome}

    def _is_due(self, condition: str, context: dict[str, Any]) -> bool:
        match = _EXPRESSION.fullmatch(condition.strip())
        expression = match[1] if match else condition
        has_status = "always()" in expression or "cancelled()" in expression
        return bool(self._value(expression, context)) and (has_status or not self.failed)

    def _use(self, step: dict[str, Any], context: dict[str, Any]) -> None:
        self._outputs: dict[str, str] = {}
        given = {name: self._text(str(text), context) for name, text in step.get("with", {}).items()}
        name, _, ref = step["uses"].partition("@")
        assert ref, f"{name} is not pinned"
        if place := self.actions.get(name):
            action = yaml.safe_load((place / "action.yml").read_text())
            assert not given.keys() - action["inputs"].keys(), f"{name} has no such input"
            inputs = {
                each: given.get(each, self._text(str(about.get("default", "")), {"github": self.github}))
                for each, about in action["inputs"].items()
            }
            before, self.failed = self.failed, False  # in an action, what counts are its own steps
            self._all(action["runs"]["steps"], {"github": self.github, "inputs": inputs}, place)
            self.failed = self.failed or before
        elif name == "actions/cache":
            self._cache(given)
        elif name == "actions/upload-artifact":
            shutil.copy(given["path"], self.home / f"artifact-{given['name']}")
        else:
            assert name in {"actions/checkout", "actions/setup-python"}, name

    def _cache(self, given: dict[str, str]) -> None:
        """Restore what an earlier job saved under the key; :meth:`end` saves it."""
        self.cached = (self.home / "cache" / given["key"], [Path(each) for each in given["path"].split()])
        kept, paths = self.cached
        for path in paths:
            there = Path(str(path).replace("~", self.environ["HOME"], 1))
            if (kept / path.name).exists():
                self._outputs["cache-hit"] = "true"
                there.parent.mkdir(parents=True, exist_ok=True)
                subprocess.run(("cp", "-a", kept / path.name, there), check=True)

    def end(self) -> None:
        """Do what actions do at the end of a job: the cache is saved where nothing was restored."""
        kept, paths = self.cached
        if kept.exists():
            return
        kept.mkdir(parents=True)
        for path in paths:
            there = Path(str(path).replace("~", self.environ["HOME"], 1))
            if there.exists():
                subprocess.run(("cp", "-a", there, kept / path.name), check=True)

    def _shell(
        self, name: str, step: dict[str, Any], context: dict[str, Any], action: Path | None
    ) -> tuple[str, dict[str, str]]:
        assert action is None or step["shell"] == "bash", "a composite action has to name the shell"
        assert "${{" not in step["run"], f"{name}: what comes from elsewhere goes through a variable"
        files = {
            each: self.home / each for each in ("GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STEP_SUMMARY")
        }
        for path in files.values():
            path.write_text("")
        temp = self.home / "temp"
        temp.mkdir(exist_ok=True)
        variables = {
            **self.environ,
            "PATH": os.pathsep.join([*self.path, self.environ["PATH"]]),
            "GITHUB_ACTIONS": "true",
            "CI": "true",
            "GITHUB_WORKSPACE": str(self.workspace),
            "RUNNER_TEMP": str(temp),
            **({"GITHUB_ACTION_PATH": str(action)} if action else {}),
            **{each: str(path) for each, path in files.items()},
            **{each: self._text(str(text), context) for each, text in step.get("env", {}).items()},
        }
        script = temp / "script.sh"
        script.write_text(step["run"])
        done = subprocess.run(
            ("bash", "--noprofile", "--norc", "-eo", "pipefail", script),
            cwd=self.workspace,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=240,
        )
        outcome = "success" if done.returncode == 0 else "failure"
        summary = files["GITHUB_STEP_SUMMARY"].read_text()
        assert len(summary.encode()) <= 1024 * 1024
        self.steps.append(Step(name, done.stdout, summary, outcome))
        self.failed = self.failed or bool(done.returncode)
        masks = re.findall(r"^::add-mask::(.*)$", done.stdout, re.MULTILINE)
        self.masks += [each.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%") for each in masks]
        self.environ |= _pairs(files["GITHUB_ENV"].read_text())
        self.path = [*reversed(files["GITHUB_PATH"].read_text().split()), *self.path]
        return outcome, _pairs(files["GITHUB_OUTPUT"].read_text())

    def _text(self, text: str, context: dict[str, Any]) -> str:
        """Return a text with its expressions filled in."""
        return _EXPRESSION.sub(lambda match: _shown(self._value(match[1], context)), text)

    def _value(self, expression: str, context: dict[str, Any]) -> Any:
        def word(match: re.Match[str]) -> str:
            text = match[0]
            words = {"&&": " and ", "||": " or ", "!": " not ", "always()": "True", "cancelled()": "False"}
            if text.startswith("'") or text == "hashFiles(":
                return text
            return words.get(text) or f"found({text!r})"

        def found(name: str) -> Any:
            at: Any = {"runner": {"os": "Linux", "arch": "X64", "temp": str(self.home / "temp")}, **context}
            for each in name.split("."):
                at = at.get(each, "") if isinstance(at, dict) else ""
            return at

        return eval(_NAMES.sub(word, expression.strip()), {"found": found, "hashFiles": self._hash})  # noqa: S307

    def _hash(self, *patterns: str) -> str:
        files = {path for text in patterns for each in text.split() for path in self.workspace.glob(each)}
        return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest() if files else ""


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _pairs(text: str) -> dict[str, str]:
    """Read an environment file: ``name=value``, or a value of several lines between two delimiters."""
    found: dict[str, str] = {}
    lines = iter(text.splitlines())
    for line in lines:
        if match := re.match(r"([^=<]+)<<(.+)$", line):
            value: list[str] = []
            for each in lines:
                if each == match[2]:
                    break
                value.append(each)
            found[match[1]] = "\n".join(value)
        elif line:
            name, _, text_of = line.partition("=")
            found[name] = text_of
    return found
