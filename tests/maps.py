"""The drawing of the pieces, in nbs/images: map.png for the front page, and map_N.png with the pieces of part N marked.

`python tests/maps.py` writes them; a test checks that the first chapter of each part shows its own."""
from pathlib import Path

from matplotlib import pyplot as plt

images = Path(__file__).resolve().parents[1]/'nbs'/'images'
pieces = {'data': (0, 0, 'files, tokens, splits\nparts 2 and 5'), 'task': (1, 0, 'rows to batches, what is right\nparts 4 and 5'),
          'loop': (2, 0, 'a loss at each step\nparts 4 and 7'), 'network': (2, 1, 'one step\npart 3'), 'answers': (3, 0, 'ask, watch, score\npart 6')}
arrows = ('data', 'task'), ('task', 'loop'), ('loop', 'answers'), ('network', 'loop')
parts = {2: ['data'], 3: ['network'], 4: ['task', 'loop'], 5: ['data', 'task'], 6: ['answers'], 7: ['loop'], 8: [*pieces]}


def draw_map(marked=()):
    "Boxes and arrows; the marked boxes are dark"
    fig, ax = plt.subplots(figsize=(8.6, 2.2))
    for name, (i, j, note) in pieces.items():
        dark = name in marked
        ax.text(i, j, name, ha='center', va='center', size=13, color='white' if dark else 'black',
                bbox=dict(boxstyle='round', fc='#2b6ca3' if dark else '#dce9f5', ec='#2b6ca3'))
        ax.text(i+.3*j, j-.3*(1-j), note, ha='left' if j else 'center', va='center' if j else 'top', size=9)
    for a, b in arrows:
        shrink = 15 if a=='network' else 34
        ax.annotate('', pieces[b][:2], pieces[a][:2], arrowprops=dict(arrowstyle='->', lw=1.5, shrinkA=shrink, shrinkB=shrink))
    ax.set(xlim=(-.4, 3.5), ylim=(-.8, 1.3))
    ax.axis('off')
    return fig


if __name__=='__main__':
    for name, marked in {'map': (), **{f'map_{n}': found for n, found in parts.items()}}.items():
        draw_map(marked).savefig(images/f'{name}.png', dpi=100, bbox_inches='tight', pad_inches=.05)
        plt.close()
