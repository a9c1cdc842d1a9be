"""What holds the parts together: checks of a folder with nbs/ and trm/ that return lists of faults.

A module is known by its dotted name (`trm.puzzles.files`): parts share names as `files`, `task`."""
import ast
import json
import re
from collections import defaultdict
from importlib.util import resolve_name
from pathlib import Path

# from the ground up: a part imports from those before it, a chapter also from lower numbers in it
parts = 'files config data network training puzzles thinking engine runs answering sharing cli'.split()
# what the order alone would allow: module or part, what it must not know, and who is excepted
closed = [('trm.network', ['trm.data', 'trm.training'], []),
          ('trm.training', ['trm.data'], ['trm.training.task', 'trm.training.canvas']),
          ('trm.training.loop', ['trm.data'], []),
          ('trm.thinking', ['trm.puzzles'], []),
          ('trm.engine.trainer',
           ['trm.data', 'trm.puzzles', 'trm.thinking', 'trm.training.task'], [])]
root_names = {'__version__', 'networks'}  # all that a module may take from the package itself


def find_notebooks(root):
    "All chapters, by path"
    found = Path(root).glob('nbs/**/*.ipynb')
    return sorted(p for p in found if '.ipynb_checkpoints' not in p.parts)


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
    found, export = defaultdict(set), r'^#\| *(?:default_exp|exports?|exporti) +([\w.]+) *$'
    for p in find_notebooks(root):
        for c in json.loads(p.read_text(encoding='utf-8'))['cells']:
            if c['cell_type'] != 'code': continue
            for name in re.findall(export, ''.join(c['source']), re.M):
                found[f'trm.{name}'].add(p.relative_to(Path(root) / 'nbs').as_posix())
    return {m: sorted(nbs) for m, nbs in found.items()}


def exported_cells(path):
    "The code cells of a notebook that go into a module"
    cells = json.loads(Path(path).read_text(encoding='utf-8'))['cells']
    sources = [''.join(c['source']) for c in cells if c['cell_type'] == 'code']
    return [s for s in sources if re.search(r'^#\| *(exports?|exporti)\b', s, re.M)]


def long_cells(path, columns=100, lines=35):
    "Exported lines and cells of a notebook that are too long; directives and blank lines are free"
    faults = []
    for cell in exported_cells(path):
        code = [line for line in cell.splitlines() if line.strip() and not line.startswith('#|')]
        about = f'{Path(path).stem}: {code[0] if code else cell}'
        if len(code) > lines: faults.append(f'{about}: {len(code)} lines; at most {lines}')
        faults += [f'{about}: {len(line)} letters in {line.strip()[:40]}; at most {columns}'
                   for line in code if len(line) > columns]
    return faults


def foreign_imports(root):
    "What the package imports from elsewhere, by dotted name: modules, and names taken from them"
    found = set()
    for m, p in find_sources(root).items():
        for _, base, name in imports_of(p.read_text(encoding='utf-8'), m.rpartition('.')[0] or m):
            if not below(base, 'trm'): found |= {base, f'{base}.{name}'} if name else {base}
    return sorted(found)


def part_of(module): return module.split('.')[1] if '.' in module else ''


def orphans(root):
    "Each module has one notebook, which it names, in its part's folder; each export has a module"
    modules, exports, faults = find_modules(root), find_exports(root), []
    header = r'File to edit: (?:\.\./)+nbs/(.+\.ipynb)'
    for m, nbs in exports.items():
        if m not in modules: faults.append(f'{nbs[0]}: exports to {m}, which does not exist')
        if len(nbs) > 1: faults.append(f"{m}: {' and '.join(nbs)} export to it")
        for nb in nbs:
            if m.count('.') > 1 and not re.fullmatch(rf'\d+_{part_of(m)}/[^/]+', nb):
                faults.append(f'{nb}: exports to {m}, a module of another part')
    for m, p in modules.items():
        if m not in exports: faults.append(f'{m}: no notebook exports to it')
        named = re.findall(header, p.read_text(encoding='utf-8'))[:1]
        if named != exports.get(m, [])[:1]: faults.append(f'{m}: says that it comes from {named}')
    for m, p in find_sources(root).items():
        if p.name == '__init__.py' and m != 'trm' and p.read_text().strip():
            faults.append(f'{m}: the __init__ of a part is empty')
    return faults


def _called(node):
    "The name of what a call calls: `import_module` for `importlib.import_module(...)` too"
    return getattr(node.func, 'id', getattr(node.func, 'attr', ''))


def _text(node):
    value = getattr(node, 'value', None)
    return value if isinstance(value, str) else None


def imports_of(source, package):
    "(line, dotted name, name taken from it or None) for each import, wherever and however written"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for a in node.names: yield node.lineno, a.name, None
        elif isinstance(node, ast.ImportFrom):
            base = '.'*node.level + (node.module or '')
            if node.level: base = resolve_name(base, package)
            for a in node.names: yield node.lineno, base, a.name
        elif isinstance(node, ast.Call) and _called(node) in ('import_module', '__import__'):
            given = [*node.args, *(k.value for k in node.keywords)]
            name, *told = [_text(a) for a in given] or [None]
            if name and name.startswith('.'): name = resolve_name(name, told and told[0] or package)
            if name: yield node.lineno, name, None


def below(name, folder): return name == folder or name.startswith(f'{folder}.')


def upward(root):
    "Imports run downwards only: to parts nearer to the ground, to lower numbers of the own part"
    modules, sources, exports = find_modules(root), find_sources(root), find_exports(root)

    def place(m): return parts.index(part_of(m)), exports.get(m, [''])[0]

    known = {m: path for m, path in modules.items() if part_of(m) in parts}
    faults = [f'{m}: of no part that tests/structure.py knows' for m in modules if m not in known]
    for m, path in known.items():
        try: found = list(imports_of(path.read_text(encoding='utf-8'), m.rpartition('.')[0]))
        except ImportError as e:
            faults.append(f'{m}: {e}')
            continue
        for line, base, name in found:
            if not below(base, 'trm'): continue
            where = f'{m}, line {line}'
            target = f'{base}.{name}' if name and f'{base}.{name}' in sources else base
            if target == 'trm':
                if name not in root_names:
                    faults.append(f"{where}: takes {name or 'all'} from the package")
            elif target not in modules:
                faults.append(f'{where}: imports {target}, which is no module')
            elif target not in known or place(target) >= place(m):
                faults.append(f'{where}: imports {target}, which is not below it')
            elif any(below(m, folder) and m not in but and any(below(target, h) for h in hidden)
                     for folder, hidden, but in closed):
                faults.append(f'{where}: imports {target}, which it must not know')
    return faults
