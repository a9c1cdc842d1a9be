"What is held out: twins under other names, rows of a group, official files, small data, near-duplicates"
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import refused, small, trm

from trm.data.dataset import MathDataset
from trm.data.pairs import open_pairs
from trm.data.problems import bundled, canonical, families, make_problems
from trm.data.splits import find_splits, named_split, near_duplicates, official_splits, rows_of, show_splits
from trm.data.tokenizer import train_tokenizer
from trm.files import InputError


def rows_by_split(path, group=''):
    pairs = replace(open_pairs(path), group=group)
    splits, found = find_splits(pairs), dict(train=[], valid=[], test=[])
    for b in rows_of(pairs, splits).batches():
        for row, s in zip(b.to_pylist(), splits.of_batch(b)): found[s].append(row)
    return found


def write(path, n, start=0, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = dict(problem=[f'What is {i}+{i}?' for i in range(start, start+n)], solution=[f'#### {2*i}' for i in range(start, start+n)])
    pq.write_table(pa.table(rows|more), path)
    return path


def test_no_bundled_test_row_has_its_twin_in_train():
    rows = pq.read_table(bundled()).to_pylist()
    assert [r['canonical'] for r in rows]==[None if (c := canonical(r['family'], r['problem']))==r['problem'] else c for r in rows]
    pairs = open_pairs(bundled())
    splits = find_splits(pairs)
    assert splits.group=='canonical'
    held = [s for b in rows_of(pairs, splits).batches() for s in splits.of_batch(b)]
    forms = {k: {(r['family'], canonical(r['family'], r['problem'])) for r, s in zip(rows, held) if s==k} for k in ('train','valid','test')}
    assert not forms['test'] & (forms['train']|forms['valid']) and not forms['valid'] & forms['train']
    count = Counter(r['family'] for r, s in zip(rows, held) if s=='test')
    assert {*count}=={*families} and min(count.values())>=20  # each family is tested


def test_families_have_many_forms():
    "A family whose rows repeat a few forms would test what was learned by heart"
    rows = pq.read_table(bundled(), columns=['family','problem','canonical']).to_pylist()
    forms = {f: {r['canonical'] or r['problem'] for r in rows if r['family']==f} for f in families}
    count = Counter(r['family'] for r in rows)
    assert all(len(forms[f])>=.75*count[f] for f in families if f!='knights'), {f: len(v) for f, v in forms.items()}
    assert count=={f: families[f].rows for f in families} and len(forms['knights'])>1000
    assert bundled().stat().st_size<2_000_000


def test_forms_are_those_of_the_same_problem():
    same = dict(compare=('Which is larger, 3 or 5?', 'Which is smaller, 5 or 3?'), sort=('Sort 31255.', 'Sort 52351.'),
                equation=('Solve 3k+6-3=12.', 'Solve 12=3a-3+6.'), product=('Compute 120*345.', 'Compute 345*120.'),
                boolean=('Evaluate (True and not (False or True)).', 'Evaluate (not (True or False) and True).'),
                dereference=('Let a = K, b = a, c = X.', 'Let a = B, b = a, c = A.'))
    other = dict(compare='Which is larger, 3 or 6?', sort='Sort 31256.', equation='Solve 3k+6-4=12.', product='Compute 120*346.',
                 boolean='Evaluate (True and not (False and True)).', dereference='Let a = K, b = a, c = K.')
    for name, (a, b) in same.items():
        assert canonical(name, a)==canonical(name, b)!=canonical(name, other[name]), name


def test_equal_answers_in_both_spellings():
    for row in make_problems(50): assert row['solution'].endswith(f"#### {row['answer']}")


def test_official_files_are_the_splits(tmp_path):
    write(tmp_path/'train.parquet', 500)
    write(tmp_path/'test.parquet', 100, 1000)
    found = rows_by_split(tmp_path)
    assert len(found['test'])==100 and len(found['train'])+len(found['valid'])==500 and found['valid']
    assert all(int(r['problem'].split()[2].split('+')[0])>=1000 for r in found['test'])
    tok = train_tokenizer(str(tmp_path), 300)
    train = MathDataset(str(tmp_path), tok, 64, 'train')
    assert len(train)==len(found['train']) and len(MathDataset(str(tmp_path), tok, 64, 'test'))==100
    assert len(MathDataset(str(tmp_path), tok, 64))==600


@pytest.mark.parametrize('name,split', [('train-00000-of-00002.parquet','train'), ('validation.jsonl','valid'), ('gsm8k_test.csv','test'),
                                        ('dev.parquet','valid'), ('latest.csv',''), ('contest.csv',''), ('train_test.csv','')])
def test_names_of_splits(name, split): assert named_split(name)==split


def test_folders_name_splits_and_what_is_common_does_not(tmp_path):
    root = tmp_path/'test'
    for s in ('train','test'): write(root/s/'0000.parquet', 20, 100*(s=='test'))
    assert official_splits(open_pairs(root))==['test','train']
    write(tmp_path/'other'/'train-00000-of-00001.parquet', 20)
    assert official_splits(open_pairs(tmp_path/'other'))==['']
    write(tmp_path/'other'/'train-00001-of-00002.parquet', 20)
    assert official_splits(open_pairs(tmp_path/'other'))==['','']  # nothing is held out by name


def test_groups_stay_together(tmp_path):
    path = write(tmp_path/'d.parquet', 3000, passage=[i//5 for i in range(3000)])
    found = rows_by_split(path, 'passage')
    seen = [{r['passage'] for r in rows} for rows in found.values()]
    assert all(seen) and sum(map(len, seen))==600
    with pytest.raises(InputError, match='no column page to group by; should be one of passage'): rows_by_split(path, 'page')


@pytest.mark.parametrize('n', [3, 10, 20, 60, 200])
def test_small_data_have_all_splits(tmp_path, n):
    found = rows_by_split(write(tmp_path/'n.parquet', n))
    assert all(found.values()), {k: len(v) for k, v in found.items()}
    assert len(found['train'])>=n-2*max(n*3//100, 1)-round(.15*n)
    assert rows_by_split(write(tmp_path/'n.parquet', n))==found


def test_twenty_rows_train(tmp_path):
    "REPORTS 17: it died at the first validation, and left a folder that was a run"
    path = write(tmp_path/'n.parquet', 20)
    p = trm('train', 'plan', '--data', path, '--out', tmp_path/'run', '--sets', f'{small} steps=4 eval_every=2')
    assert p.returncode==0, p.stderr
    assert 'few rows: ' in p.stdout
    refused(trm('train', 'plan', '--data', write(tmp_path/'two.parquet', 2), '--out', tmp_path/'two', '--sets', small), 'no usable row')
    assert not (tmp_path/'two').exists()


def test_an_answer_column_is_the_gold(tmp_path):
    pq.write_table(pa.table(dict(problem=['1+1?']*3, solution=['two ones', r'it is \boxed{2}', 'x\n#### 2'], answer=['2']*3)), tmp_path/'a.parquet')
    tok = train_tokenizer(tmp_path/'a.parquet', 300)
    ds = MathDataset(tmp_path/'a.parquet', tok, 64)
    texts = [tok.decode(ds.tokens[e-n:e].tolist()) for e, n in zip(ds.ends, ds.lens)]
    assert 'two ones\n#### 2' in texts[0] and texts[1].count('2')==1 and texts[2].count('####')==1


long = 'The quick brown fox jumps over {} lazy dogs and then runs {} miles to find its home in the forest.'


def test_near_duplicates_mask_numbers():
    other = 'A wholly different text about ships which carry {} loads of coal from one harbour to the other one.'
    texts = [long.format(3, 12), other.format(5), 'too short']
    assert near_duplicates(texts, [[long.format('1,200', 4.5)], ['too short']]).tolist()==[True, False, False]
    assert near_duplicates([], [texts]).tolist()==[] and near_duplicates(texts, []).tolist()==[False]*3
    assert near_duplicates([' '.join('abcdefghijklm')], [['x ' + ' '.join('abcdefghijklm')]]).tolist()==[True]
    assert near_duplicates([' '.join('abcdefghijkl')], [[' '.join('abcdefghijkl')]]).tolist()==[False]  # twelve words


def test_the_report_counts_near_duplicates(tmp_path):
    rng = np.random.default_rng(0)
    words = [' '.join(rng.choice([*'abcdefghijklmnopqrstuvwxyz'], 20)) for _ in range(40)]
    pq.write_table(pa.table(dict(problem=words, solution=['1']*40)), tmp_path/'train.parquet')
    pq.write_table(pa.table(dict(problem=[words[0]+' 7', words[1]+' 8', 'short']+[' '.join(rng.choice([*'ABCDEFGHIJKLMN'], 20))]*2, solution=['1']*5)), tmp_path/'test.parquet')
    text = show_splits(tmp_path)
    assert 'by the names of the files' in text and 'test 5' in text
    assert '2 of 5 test rows (40.0%) have one in train' in text and ': 6 rows;' in text
    assert 'near' not in show_splits(bundled())


def test_scores_without_near_duplicates(tmp_path):
    "All, some and none of the test rows have a twin in train"
    for name, own in (('all', 3), ('some', 1), ('none', 0)):
        d = tmp_path/name
        d.mkdir()
        pq.write_table(pa.table(dict(problem=[f'{long.format(i, i+1)}' for i in range(40)], solution=[f'#### {i}' for i in range(40)])), d/'train.parquet')
        test = [long.format(1000+i, i) if i<own else f'What is {i}+{i}?' for i in range(3)]
        pq.write_table(pa.table(dict(problem=test, solution=['#### 1']*3)), d/'test.parquet')
        p = trm('train', 'plan', '--data', d, '--out', tmp_path/f'run_{name}', '--sets', f'{small} max_seq_len=128 steps=2 eval_every=2')
        assert p.returncode==0, p.stderr
        p = trm('eval', tmp_path/f'run_{name}', '--json', tmp_path/'e.json')
        assert p.returncode==0, p.stderr
        want = dict(all='all of these 3 have a near-duplicate', some='without the 1 that have a near-duplicate in train: exact', none='none of these 3 has')
        assert want[name] in p.stdout
        assert f'"without_near_duplicates": {{\n  "n": {3-own}' in (tmp_path/'e.json').read_text()
        assert 'on 3 of the test split' in p.stdout


def test_a_pattern_of_ones_own(tmp_path):
    path = write(tmp_path/'d.parquet', 50)
    for bad, says in ((r'(\d+', 'should be a regular expression'), (r'\d+', '0 groups')):
        refused(trm('train', 'plan', '--data', path, '--out', tmp_path/'r', '--sets', f"{small} 'answer_pattern={bad}'"), 'answer_pattern', says)
    p = trm('train', 'plan', '--data', path, '--out', tmp_path/'run', '--sets', f"{small} steps=2 eval_every=2 'answer_pattern=is ([0-9]+)'")
    assert p.returncode==0, p.stderr
