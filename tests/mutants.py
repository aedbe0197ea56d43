"""Small faults in source code, for `mutation.py`.

Docstrings, type hints, `__all__` and the messages of errors stay as they are.
"""

import ast
import collections
import copy
import difflib
import random
import re

# Each operator and what replaces it, by their names in `ast`.
OPERATORS = """
    Lt LtE GtE, LtE Lt Gt, Gt GtE LtE, GtE Gt Lt, Eq NotEq, NotEq Eq,
    Is IsNot, IsNot Is, In NotIn, NotIn In, And Or, Or And,
    Add Sub, Sub Add, Mult Div, Div Mult, FloorDiv Div, Mod Mult, Pow Mult,
    LShift RShift, RShift LShift, BitAnd BitOr
"""
OPERATORS = {
    old: [getattr(ast, new)() for new in news]
    for old, *news in map(str.split, OPERATORS.split(","))
}

# `place` counts the mutable nodes of a file, and `kind` the variants of a node.
Mutant = collections.namedtuple(
    "Mutant", "file source place kind line before after", defaults=[None] * 5
)


def is_exempt(node):
    """Whether no test needs to notice a change in this node."""
    match node:
        case ast.Expr(value=ast.Constant()):  # a docstring
            return True
        case ast.If():
            return "TYPE_CHECKING" in ast.unparse(node.test)
        case ast.Assign():
            return ast.unparse(node.targets[0]) == "__all__"
        case ast.Raise():  # an abstract method
            return "NotImplementedError" in ast.unparse(node)
        case ast.keyword():
            return node.arg == "stacklevel"
    return isinstance(node, ast.JoinedStr)  # a message


def variants(node):
    """Returns the faulty versions of a node, not of the nodes inside it."""

    def changed(**fields):
        new = copy.copy(node)
        vars(new).update(fields)
        return new

    def operators(old):
        return OPERATORS.get(type(old).__name__, [])

    match node:
        case ast.AugAssign():
            return [ast.Pass(), *(changed(op=op) for op in operators(node.op))]
        case ast.Assign(targets=[ast.Name(id=name)]):
            # A name without its first value fails in any test.
            has_value = re.search(rf"\b{name}\b", ast.unparse(node.value))
            return [ast.Pass()] if has_value else []
        case ast.Assign() | ast.Expr() | ast.Raise() | ast.Continue():
            return [ast.Pass()]
        case ast.Constant(value=bool() as value):
            return [ast.Constant(not value)]
        case ast.Constant(value=int() | float() as value):
            others = {value + 1, value * 2, -value, 0} - {value}
            return [ast.Constant(other) for other in sorted(others)]
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            return [node.operand]
        case ast.If(orelse=[]) | ast.While():
            return [changed(test=ast.UnaryOp(ast.Not(), node.test))]
        case ast.If() | ast.IfExp():
            return [changed(body=node.orelse, orelse=node.body)]
        case ast.Call(args=[condition, x, y]):
            is_where = ast.unparse(node.func).endswith("where")
            return [changed(args=[condition, y, x])] if is_where else []
        case ast.BinOp() | ast.BoolOp():
            return [changed(op=op) for op in operators(node.op)]
        case ast.Compare():
            return [
                changed(ops=[*node.ops[:i], op, *node.ops[i + 1 :]])
                for i, old in enumerate(node.ops)
                for op in operators(old)
            ]
    return []


def mutable_nodes(node, scope=""):
    """Yields `(scope, parent, field, index, variants)` for each mutable node.

    `scope` names the class and the outermost function around the node.
    """
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns"):
            continue
        children = value if isinstance(value, list) else [value]
        for index, child in enumerate(children):
            if not isinstance(child, ast.AST) or is_exempt(child):
                continue
            inner = scope
            if isinstance(child, ast.ClassDef) and "()" not in scope:
                inner = f"{scope}{child.name}."
            elif isinstance(child, ast.FunctionDef) and "()" not in scope:
                inner = f"{scope}{child.name}()"
            if found := variants(child):
                yield inner, node, field, index, found
            if not isinstance(child, ast.Raise):  # its message
                yield from mutable_nodes(child, inner)


def mutate(file, text, place, kind):
    """Returns the mutant of a node, given the text of its file."""
    tree = ast.parse(text)
    old = ast.unparse(tree).splitlines()
    _, parent, field, index, found = list(mutable_nodes(tree))[place]
    value = getattr(parent, field)
    if isinstance(value, list):
        line, value[index] = value[index].lineno, found[kind]
    else:
        line = value.lineno
        setattr(parent, field, found[kind])
    source = ast.unparse(ast.fix_missing_locations(tree))
    lines = list(difflib.unified_diff(old, source.splitlines(), n=0))[2:]
    before, after = (
        " / ".join(each[1:].strip() for each in lines if each[0] == sign)
        for sign in "-+"
    )
    return Mutant(file, source, place, kind, line, before, after)


def draw(texts, count, seed):
    """Draws mutants, in turns from every function."""
    rng = random.Random(seed)
    functions = collections.defaultdict(list)
    for file, text in texts.items():
        nodes = enumerate(mutable_nodes(ast.parse(text)))
        for place, (scope, *_, found) in nodes:
            kind = rng.randrange(len(found))
            functions[file, scope].append((file, text, place, kind))
    turns = list(functions.values())
    for queue in (turns, *turns):
        rng.shuffle(queue)
    longest = max(map(len, turns))
    drawn = [q[i] for i in range(longest) for q in turns if i < len(q)]
    return [mutate(*each) for each in drawn[:count]]
