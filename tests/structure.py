"""What holds the parts together, as checks of a folder with nbs/ and trm/: each returns a list of faults.

A module is known by its dotted name (`trm.puzzles.files`): several parts have a module `files` or `task`."""
import ast
import json
import re
from collections import defaultdict
from importlib.util import resolve_name
from pathlib import Path

# from the ground up: a part imports from those before it, a chapter also from lower numbers of its part
parts = 'files config data network training puzzles thinking engine runs cli'.split()
# what the order alone would allow: module or part, what it must not know, and who is excepted
closed = [('trm.network', ['trm.data'], []),
          ('trm.training', ['trm.data'], ['trm.training.task']),
          ('trm.engine.trainer', ['trm.data', 'trm.puzzles', 'trm.thinking', 'trm.training.task'], [])]
root_names = {'__version__', 'networks'}  # all that a module may take from the package itself


def find_notebooks(root):
    "All chapters, by path"
    return sorted(p for p in Path(root).glob('nbs/**/*.ipynb') if '.ipynb_checkpoints' not in p.parts)


def find_sources(root):
    "All Python files of the package, by dotted name; a package has the name of its folder"
    found = {}
    for p in sorted(Path(root).glob('trm/**/*.py')):
        names = p.relative_to(root).with_suffix('').parts
        found['.'.join(names[:-1] if names[-1] == '__init__' else names)] = p
    return found


def find_modules(root):
    "The modules that come from notebooks: neither a package's `__init__` nor nbdev's index"
    return {m: p for m, p in find_sources(root).items() if not p.name.startswith('_')}


def find_exports(root):
    "For each dotted name the notebooks that export to it, as paths below nbs/"
    found = defaultdict(set)
    for p in find_notebooks(root):
        for c in json.loads(p.read_text(encoding='utf-8'))['cells']:
            if c['cell_type'] != 'code': continue
            for name in re.findall(r'^#\| *(?:default_exp|exports?|exporti) +([\w.]+) *$', ''.join(c['source']), re.M):
                found[f'trm.{name}'].add(p.relative_to(Path(root) / 'nbs').as_posix())
    return {m: sorted(nbs) for m, nbs in found.items()}


def part_of(module): return module.split('.')[1] if '.' in module else ''


def orphans(root):
    "Each module comes from one notebook, which it names, in the folder of its part, and each export has its module"
    modules, exports, faults = find_modules(root), find_exports(root), []
    for m, nbs in exports.items():
        if m not in modules: faults.append(f'{nbs[0]}: exports to {m}, which does not exist')
        if len(nbs) > 1: faults.append(f"{m}: {' and '.join(nbs)} export to it")
        for nb in nbs:
            if m.count('.') > 1 and not re.fullmatch(rf'\d+_{part_of(m)}/[^/]+', nb):
                faults.append(f'{nb}: exports to {m}, a module of another part')
    for m, p in modules.items():
        if m not in exports: faults.append(f'{m}: no notebook exports to it')
        named = re.search(r'File to edit: (?:\.\./)+nbs/(.+\.ipynb)', p.read_text(encoding='utf-8'))
        if not named or named.group(1) not in exports.get(m, []):
            faults.append(f"{m}: says that it comes from {named.group(1) if named else 'nowhere'}")
    for m, p in find_sources(root).items():
        if p.name == '__init__.py' and m != 'trm' and p.read_text().strip():
            faults.append(f'{m}: the __init__ of a part is empty')
    return faults


def _called(node):
    "The name of what a call calls: `import_module` for `importlib.import_module(...)` too"
    return getattr(node.func, 'id', getattr(node.func, 'attr', ''))


def _text(node): return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def imports_of(source, package):
    "(line, dotted name, name taken from it or None) for every import, at the top or inside, in any spelling"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for a in node.names: yield node.lineno, a.name, None
        elif isinstance(node, ast.ImportFrom):
            base = '.'*node.level + (node.module or '')
            if node.level: base = resolve_name(base, package)
            for a in node.names: yield node.lineno, base, a.name
        elif isinstance(node, ast.Call) and _called(node) in ('import_module', '__import__') and node.args:
            name, told = _text(node.args[0]), [a.value for a in node.keywords if a.arg == 'package'] + node.args[1:2]
            if name and name.startswith('.'): name = resolve_name(name, told and _text(told[0]) or package)
            if name: yield node.lineno, name, None


def below(name, folder): return name == folder or name.startswith(f'{folder}.')


def upward(root):
    "Imports run downwards only: to parts nearer to the ground, and to lower numbers of the own part"
    modules, sources, exports, faults = find_modules(root), find_sources(root), find_exports(root), []

    def place(m): return parts.index(part_of(m)), exports.get(m, [''])[0]

    for m, path in modules.items():
        if part_of(m) not in parts: faults.append(f'{m}: a part that tests/structure.py does not know')
    for m, path in modules.items():
        if part_of(m) not in parts: continue
        try: found = list(imports_of(path.read_text(encoding='utf-8'), m.rpartition('.')[0]))
        except ImportError as e:
            faults.append(f'{m}: {e}')
            continue
        for line, base, name in found:
            if not below(base, 'trm'): continue
            where = f'{m}, line {line}'
            target = f'{base}.{name}' if name and f'{base}.{name}' in sources else base
            if target == 'trm':
                if name not in root_names: faults.append(f"{where}: takes {name or 'all'} from the package")
            elif target not in modules: faults.append(f'{where}: imports {target}, which is no module')
            elif part_of(target) not in parts: pass
            elif place(target) >= place(m): faults.append(f'{where}: imports {target}, which is not below it')
            else:
                faults += [f'{where}: imports {target}, which it must not know' for folder, hidden, but in closed
                           if below(m, folder) and m not in but and any(below(target, h) for h in hidden)]
    return faults
