"""What a spec says of its roles in one place and in another: names, memberships, and who may log in where.

Each problem is reported where it can be corrected, once both sections are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping as MappingType

from provision.model import MAINTENANCE
from provision.model.value import dataclass
from provision.spec.access import PUBLIC, Database, Grantee, Member, NoPassword, Role
from provision.spec.model import Server
from provision.spec.reading import Mention, Reading, nearest, shorten
from provision.spec.role_names import complaint
from provision.spec.role_settings import ROLE
from provision.spec.roles import OPTIONS_SINCE
from provision.spec.yaml import Mapping, Mark, Node, Scalar, Sequence

_LONGEST_CIRCLE = 6


def check(
    top: Mapping, roles: MappingType[str, Role], databases: MappingType[str, Database], server: Server, reading: Reading
) -> None:
    """Report what is wrong with roles."""
    spec = _Spec(top, roles, databases, server, reading)
    spec.check_renames()
    spec.check_mentions()
    spec.check_cycles()
    spec.check_settings()
    for database, tree in spec.trees():
        spec.check_tree(database, tree)


@dataclass(eq=False)
class _Spec:
    top: Mapping
    roles: MappingType[str, Role]
    """Those that could be read."""
    databases: MappingType[str, Database]
    server: Server
    reading: Reading

    def keys(self, section: str) -> MappingType[str, tuple[Scalar, Node]] | None:
        """Return what stands in a section; None where it is no mapping, or has another name, which was reported."""
        if section not in self.top.entries:
            return None if any(nearest(each, (section,)) for each in self.top.entries) else {}
        node = self.top.entries[section][1]
        if isinstance(node, Scalar) and node.is_null:
            return {}
        return node.entries if isinstance(node, Mapping) else None

    def mark(self, *path: str) -> Mark:
        """Return where the last key of a path stands, or the nearest one above it."""
        node: Node = self.top
        found = self.top.mark
        for name in path:
            if not isinstance(node, Mapping) or name not in node.entries:
                break
            key, node = node.entries[name]
            found = key.mark
        return found

    def report(self, mark: Mark, message: str, advice: str) -> None:
        self.reading.report(mark, message, advice)

    # --- Names -------------------------------------------------------------------------------------------------------

    def check_renames(self) -> None:
        first: dict[str, str] = {}
        for name, role in self.roles.items():
            old = role.renamed_from
            if old is None:
                continue
            mark = self.mark("roles", name, "renamed_from")
            if old == self.server.user:
                advice = "write the new name into `server.credentials.user`"
                self.report(mark, "`renamed_from`: this is the role that provision logs in as", advice)
            elif old in (self.keys("roles") or {}):
                message = f"`renamed_from`: `{shorten(old)}` is declared too, and would be the same role"
                self.report(mark, message, "remove it below `roles`, or remove `renamed_from`")
            elif old in first:
                message = f"`renamed_from`: that role is called `{shorten(first[old])}` already"
                self.report(mark, message, "keep one of the two")
            first.setdefault(old, name)

    def check_mentions(self) -> None:
        keys = self.keys("roles"), self.keys("databases")
        roles = None if keys[0] is None else {*keys[0], self.server.user}
        databases = None if keys[1] is None else {*keys[1], self.server.database, MAINTENANCE}
        renamed = {role.renamed_from: role.name for role in reversed([*self.roles.values()]) if role.renamed_from}
        for each in self.reading.mentions:
            if self.reading.is_full:
                return
            if each.kind == "role" and roles is not None:
                self._check_role(each, roles, renamed.get(each.name))
            elif each.kind == "database" and databases is not None:
                self._check_database(each, databases)

    def _check_role(self, each: Mention, declared: set[str], renamed: str | None) -> None:
        found = None
        if renamed is not None and each.name not in declared:
            found = f"the role {each.shown} is called `{shorten(renamed)}` here", f"write `{shorten(renamed)}`"
        elif each.name not in declared:
            found = complaint(each, self.server.major, declared)
        elif each.name in self.roles and self.roles[each.name].is_absent:
            found = f"the role {each.shown} has `state: absent`", "name another role, or keep this one"
        if found is not None:
            self.report(each.node.mark, f"`{each.use}`: {found[0]}", found[1])

    def _check_database(self, each: Mention, declared: set[str]) -> None:
        if each.name not in declared:
            meant = nearest(each.name, declared) if each.is_in_clear else None
            advice = f"did you mean `{shorten(meant)}`?" if meant else "declare it there: `{}` is enough"
            message = f"there is no database {each.shown} below `databases`"
            self.report(each.node.mark, f"`{each.use}`: {message}", advice)
        elif each.name in self.databases and self.databases[each.name].is_absent:
            message = f"the database {each.shown} has `state: absent`"
            self.report(each.node.mark, f"`{each.use}`: {message}", "remove it here, or keep the database")

    # --- Memberships -------------------------------------------------------------------------------------------------

    def check_cycles(self) -> None:
        """Report circles of memberships: each role is walked through once."""
        done: set[str] = set()
        for start in self.roles:
            path: dict[str, Iterator[Member]] = {} if start in done else {start: iter(self.groups(start))}
            while path:
                name = next(reversed(path))
                group = next(path[name], None)
                if group is None:
                    done.add(name)
                    del path[name]
                elif group.group in path:
                    self._report_circle([*path][[*path].index(group.group) :])
                elif group.group not in done:
                    path[group.group] = iter(self.groups(group.group))

    def _report_circle(self, names: list[str]) -> None:
        shown = [f"`{shorten(each)}`" for each in (*names, names[0])]
        if len(shown) > _LONGEST_CIRCLE:
            shown[2:-1] = ["…"]
        message = f"these memberships form a circle: {' → '.join(shown)}"
        self.report(self.mark("roles", names[0], "member_of"), message, "remove one of them")

    def groups(self, name: str) -> tuple[Member, ...]:
        role = self.roles.get(name)
        return tuple(each for each in role.member_of if not each.is_absent) if role is not None else ()

    def reaches(self, start: str, goals: set[str], counts: Callable[[str, Member], bool]) -> bool:
        """Whether memberships that count lead from a role to one of ``goals``, as far as it can be known.

        What a role that is made elsewhere belongs to is not known, and a superuser needs no membership.
        """
        found, left = {start}, [start]
        while left:
            name = left.pop()
            role = self.roles.get(name)
            if name in goals or name == self.server.user or (role and (role.is_external or role.superuser)):
                return True
            if role is None and name in (self.keys("roles") or {}):
                return True  # it could not be read, and that was reported
            groups = {each.group for each in self.groups(name) if counts(name, each)}
            left += groups - found
            found |= groups
        return False

    def sets(self, _name: str, each: Member) -> bool:
        return each.set or 0 < self.server.major < OPTIONS_SINCE

    def inherits(self, name: str, each: Member) -> bool:
        return self.roles[name].inherit if 0 < self.server.major < OPTIONS_SINCE else each.inherit

    # --- Logins ------------------------------------------------------------------------------------------------------

    def check_settings(self) -> None:
        """Report the setting ``role`` of a role that may not be set to it: its logins would go on as themselves."""
        for name, role in self.roles.items():
            for path, values in (
                ("settings", role.settings),
                *(("settings_in", each) for each in role.settings_in.values()),
            ):
                if (value := values.get(ROLE)) and value[0] != "none":
                    self._check_set(name, value[0], self.mark("roles", name, path))

    def _check_set(self, login: str, goal: str, mark: Mark) -> None:
        declared = self.keys("roles") or {}
        if login not in (*declared, self.server.user):
            return  # it was reported
        if goal not in declared and not goal.startswith("pg_"):
            return  # it was reported
        if goal in self.roles and self.roles[goal].is_absent:
            return  # this too
        if self.reaches(login, {goal}, self.sets):
            return
        is_member = self.reaches(login, {goal}, lambda _name, _member: True)
        why = ": a membership between them lacks `set: true`" if is_member else ""
        has_options = not 0 < self.server.major < OPTIONS_SINCE
        entry = f"{{role: {shorten(goal)}, set: true}}" if has_options else shorten(goal)
        message = f"`{shorten(login)}` may not be set to `{shorten(goal)}`{why}"
        self.report(mark, message, f"write `member_of: [{entry}]` for `{shorten(login)}`")

    def trees(self) -> Iterator[tuple[str, Mapping]]:
        """Yield the mappings of all migrations and seeds with the database that they go to."""
        sections = [(self.server.database, self.top)]
        sections += [
            (name, node) for name, (_, node) in (self.keys("databases") or {}).items() if isinstance(node, Mapping)
        ]
        for database, section in sections:
            for key in ("migrations", "seeds"):
                node = section.value(key)
                for item in node.items if isinstance(node, Sequence) else (node,):
                    if isinstance(item, Mapping):
                        yield database, item

    def check_tree(self, database: str, tree: Mapping) -> None:
        login = self._text(tree, "as")
        if login is not None and (wrong := self._cannot_log_in(login)):
            self.report(tree.entries["as"][1].mark, f"`as`: {wrong[0]}", wrong[1])
        elif login is not None:
            self._check_connect(database, login, tree.entries["as"][1].mark)
        role = self._text(tree, "role")
        if role is not None and login is not None:
            self._check_set(login, role, tree.entries["role"][1].mark)

    def _text(self, tree: Mapping, name: str) -> str | None:
        node = tree.value(name)
        return self.reading.filled(node, None) if isinstance(node, Scalar) else None

    def _cannot_log_in(self, name: str) -> tuple[str, str] | None:
        role = self.roles.get(name)
        shown = f"`{shorten(name)}`"
        if name.startswith("pg_"):
            return f"{shown} is a role of PostgreSQL that cannot log in", "name a role below `roles`"
        if role is None or role.is_absent:
            return None  # it is the superuser, or was reported
        if role.is_external:
            return f"{shown} is made elsewhere, so its password is not known here", "name a role that is declared here"
        if not role.login:
            return f"{shown} cannot log in", f"write `login: true` for {shown} below `roles`"
        if isinstance(role.password, NoPassword):
            return f"{shown} has no password to log in with", f"give {shown} one, or name another role"
        if role.connection_limit == 0:
            return f"{shown} may have no connection", f"write a larger `connection_limit` for {shown}"
        return None

    def _check_connect(self, name: str, login: str, mark: Mark) -> None:
        database = self.databases.get(name)
        if database is None or database.connect is None or PUBLIC in database.connect or database.owner is None:
            return
        able: set[Grantee] = {*database.connect, database.owner}
        if login not in self.roles or self.roles[login].is_absent:
            return
        if not self.reaches(login, {each for each in able if each}, self.inherits):
            message = f"`as`: `{shorten(login)}` may not connect to `{shorten(name)}`"
            self.report(mark, message, f"add `{shorten(login)}` to `connect` of the database")
