"Everything here comes from settings.ini, where version, requirements and console scripts are kept."
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

ini = ConfigParser(delimiters=['='])
ini.read(Path(__file__).parent/'settings.ini', encoding='utf-8')
cfg = ini['DEFAULT']
networks = [f'weights/*/{name}' for name in ('README.md', 'config.json', 'model.safetensors', 'puzzles.parquet')]
web = ['web/trm.js', 'web/page.html', 'py.typed']
extras = {o: cfg[f'{o}_requirements'].split() for o in ('dev', 'math', 'onnx', 'wandb', 'bench')}

setup(
    name=cfg['lib_name'], version=cfg['version'], description=cfg['description'],
    long_description=Path(__file__).with_name('README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown', keywords=cfg['keywords'],
    author=cfg['author'], author_email=cfg['author_email'], url=cfg['git_url'], license='Apache-2.0',
    packages=find_packages(include=['trm', 'trm.*']), package_data={'trm': networks + web}, zip_safe=False,
    python_requires='>=' + cfg['min_python'], install_requires=cfg['requirements'].split(),
    extras_require=extras,
    entry_points={'console_scripts': cfg['console_scripts'].split(), 'nbdev': ['trm=trm._modidx:d']},
    classifiers=['Programming Language :: Python :: 3', 'Intended Audience :: Science/Research',
                 'Topic :: Scientific/Engineering :: Artificial Intelligence'],
)
