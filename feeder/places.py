"""Where settings come from, and the words for what is wrong there."""

from __future__ import annotations

import difflib
import os
import re
import stat
import tomllib
from collections.abc import Collection, Iterable
from pathlib import Path

from msgspec import Struct

from feeder.errors import Problem

DEFAULT_CONFIG = Path("config/feeder.toml")
PREFIX = "FEEDER_"
_OWN_VARIABLES = {"CONFIG", "SECRETS_DIR"}  # read before the settings are


class Places(Struct, frozen=True, kw_only=True):
    """The places settings come from, and the words for what is wrong there."""

    config: Path | None
    secrets: Path | None

    @classmethod
    def found(cls, config: Path | None, secrets: Path | None) -> Places:
        """The places that somebody named, in a call or in the environment, or the usual ones."""
        config = config or _path(f"{PREFIX}CONFIG")
        secrets = secrets or _path(f"{PREFIX}SECRETS_DIR")
        if config is None:
            return cls(config=DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None, secrets=secrets)
        return cls(config=config, secrets=secrets)

    def unreadable(self) -> list[Problem]:
        """What keeps the settings from being read at all."""
        found = []
        if self.config is not None:
            try:
                tomllib.loads(self._toml())
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
                found.append(
                    Problem(
                        where=str(self.config), reason=f"cannot be read: {reason}; name the settings file with --config"
                    )
                )
            except RecursionError:
                found.append(Problem(where=str(self.config), reason="not TOML: lists or tables nest too deep"))
            except tomllib.TOMLDecodeError as error:
                line = re.search(r"at line (\d+)", str(error))
                found.append(
                    Problem(where=str(self.config), line=int(line[1]) if line else None, reason=f"not TOML: {error}")
                )
        if self.secrets is not None and not self.secrets.is_dir():
            found.append(Problem(where=str(self.secrets), reason=f"no such folder ({PREFIX}SECRETS_DIR)"))
        return found

    def exposed(self) -> list[Problem]:
        """The files with secrets in them that everyone on this machine can read."""
        files = [self.config] if self.config is not None and self._holds_secrets() else []
        if self.secrets is not None and self.secrets.is_dir():
            files += sorted(path for path in self.secrets.iterdir() if path.is_file())
        as_root = ", and feeder runs as root: give it a user of its own" if os.geteuid() == 0 else ""
        return [
            Problem(
                where=str(path),
                reason=f"holds a secret and everyone on this machine can read it{as_root}; chmod 600 {path}",
                warning=True,
            )
            for path in files
            if path.stat().st_mode & stat.S_IROTH
        ]

    def _holds_secrets(self) -> bool:
        targets = tomllib.loads(self._toml()).get("targets")
        sections = targets.values() if isinstance(targets, dict) else ()
        return any({"token", "secret"} & {*section} for section in sections if isinstance(section, dict)) or any(
            section.get("kind") == "slack" and "url" in section for section in sections if isinstance(section, dict)
        )

    def unknown_variables(self, known: Collection[str]) -> list[Problem]:
        """Variables that look like settings and are none of those called `known`."""
        found = []
        for name in os.environ:
            setting = name.removeprefix(PREFIX).split("__")[0]
            if name.startswith(PREFIX) and setting not in _OWN_VARIABLES and setting.lower() not in known:
                nearest = near(setting, [each.upper() for each in known])
                found.append(Problem(where=f"{name} (environment)", reason=f"unknown setting{nearest}"))
        return found

    def problem(self, path: tuple[str, ...], reason: str, known: Iterable[str] = ()) -> Problem:
        """What is wrong with the setting at `path`, and where it was set."""
        if reason == "unknown key":
            reason += near(path[-1], known)
        if reason == "is missing":
            reason += (
                f"; write it there, or set {variable(path)}, or put it into {secret_file(path)} in the secrets folder"
            )
        if variable(path) in {each.upper() for each in os.environ}:
            return Problem(where=f"{variable(path)} (environment)", reason=reason)
        if self.secrets is not None and (self.secrets / secret_file(path)).is_file():
            return Problem(where=str(self.secrets / secret_file(path)), reason=reason)
        line = self._line(path)
        owner = variable(path[:2])
        below = [each for each in os.environ if each.upper().startswith(f"{owner}__")]
        if line is None and below:
            return Problem(where=f"{min(below)} (environment)", reason=f"{'.'.join(path)}: {reason}")
        where = str(self.config) if self.config is not None else "settings"
        return Problem(where=where, line=line, reason=f"{'.'.join(path)}: {reason}")

    def _toml(self) -> str:
        return self.config.read_text(encoding="utf-8") if self.config is not None else ""

    def _line(self, path: tuple[str, ...]) -> int | None:
        """The line of the config file on which `path`, or the section that it belongs to, is set."""
        section: tuple[str, ...] = ()
        best: tuple[int, int] | None = None
        for number, line in enumerate(self._toml().splitlines(), 1):
            if header := re.match(r"\s*\[([^\[\]]+)\]", line):
                section = _keys(header[1])
                here = section
            elif key := re.match(r"\s*([\w.\"'-]+)\s*=", line):
                here = (*section, *_keys(key[1]))
            else:
                continue
            if here == path[: len(here)] and len(here) > (best[0] if best else 0):
                best = (len(here), number)
        return best[1] if best else None


def _path(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value) if value else None


def variable(path: tuple[str, ...]) -> str:
    """The environment variable of the setting at `path`."""
    return PREFIX + "__".join(path).upper()


def secret_file(path: tuple[str, ...]) -> str:
    """The name of the file in the secrets folder for the setting at `path`."""
    return "__".join(path).lower()


def _keys(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def near(name: str, names: Iterable[str]) -> str:
    """A hint at the one of `names` that `name` may have been meant for; empty when there is none."""
    nearest = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f"; did you mean {nearest[0]}?" if nearest else ""
