"Answers: where they stand in a text, and 60 pairs that are and are not the same."
import importlib.util

import pytest

from trm.data.answers import extract_answer, same_answer

same = [
    ('42', '42'), ('42', ' 42 '), ('42', '42.'), ('42', '42.0'), ('42', '$42'), ('$42$', '42'), ('42', '+42'),
    ('042', '42'), ('-3', '-3.0'), ('-0', '0'), ('1,000', '1000'), ('12,345,678', '12345678'),
    ('1,234.5', '1234.50'), ('$1,000', '1000.00'), ('.5', '0.5'), ('5.', '5'), ('1/2', '0.5'), ('2/4', '1/2'),
    ('-1/2', '-0.5'), ('1/3', '0.33333333'), ('2e3', '2000'), ('1E-2', '0.01'), ('3.1415926535', '3.1415926536'),
    ('12345678901234560058', '12345678901234560058.0'), ('True', 'True'), ('a  knave', 'a knave'),
    ('caf\u00e9', 'cafe\u0301'), ('nan', 'nan'), ('inf', 'inf'), ('1,2,3', '1,2,3'), ('(1, 2)', '(1,  2)')]
different = [
    ('42', '43'), ('42', '-42'), ('42', ''), ('12345678901234560058', '12345678901234560059'),
    ('9007199254740993', '9007199254740992'), ('1/3', '0.33'), ('3.14', '3.15'), ('1000001', '1000002'),
    ('5,123', '5,1,2,3'), ('1,2,3', '12,3'), ('0,1,2', '1,2'), ('(5,123)', '(5123)'), ('[1,000]', '[1000]'),
    ('1,2', '12'), ('12,34', '1234'), ('nan', 'NaN'), ('inf', 'infinity'), ('1e400', 'inf'), ('1_000', '1000'),
    ('0x10', '16'), ('1/0', '2/0'), ('True', 'False'), ('knight', 'knave'), ('Paris', 'London'), ('50%', '50'),
    ('1 2', '12'), ('x=3', '3'), ('3 apples', '3'), ('1e99', '1e98')]
latex = [
    (r'\frac{1}{2}', '1/2', True), (r'\frac{1}{2}', '0.5', True), (r'\sqrt{4}', '2', True),
    (r'\frac{1}{2}', r'\frac{2}{3}', False), ('2^{3}', '8', True), (r'\{1,2\}', r'\{1,3\}', False)]


def test_there_are_sixty_pairs(): assert len(same)+len(different) == 60


@pytest.mark.parametrize('a, b', same)
def test_same(a, b): assert same_answer(a, b) and same_answer(b, a)


@pytest.mark.parametrize('a, b', different)
def test_different(a, b): assert not same_answer(a, b) and not same_answer(b, a)


@pytest.mark.skipif(not importlib.util.find_spec('math_verify'), reason='needs the extra `math`')
@pytest.mark.parametrize('a, b, equal', latex)
def test_latex(a, b, equal): assert same_answer(a, b) == equal


def test_latex_without_the_library(monkeypatch):
    "The same text is the same answer; what would have to be read is not"
    monkeypatch.setitem(__import__('sys').modules, 'math_verify', None)
    assert same_answer(r'\frac{1}{2}', r'\frac{1}{2}')
    assert not same_answer(r'\frac{1}{2}', '1/2')


@pytest.mark.parametrize('text, answer', [
    ('3+4=7\n#### 7', '7'), ('#### 7\n\n  \n', '7'), ('so 7 #### 7', '7'), ('####', ''), ('####\n7', None),
    ('#### Step 1\nadd\n#### Final answer\n116', None), ('#### 1\n#### 2', '2'), ('', None), ('7', None),
    (r'\boxed{7}', '7'), (r'\boxed{\frac{1}{2}} is it', r'\frac{1}{2}'), (r'\boxed{1} and \boxed{2}', '2'),
    (r'\boxed{1} and \boxed{2', None), (r'\boxed{7}'+'\n#### 8', '8'), (r'\boxed{}', '')])
def test_where_the_answer_stands(text, answer): assert extract_answer(text) == answer


def test_a_pattern_of_ones_own():
    assert extract_answer('Answer: 3\nAnswer: 4', r'Answer: (\d+)') == '4'
    assert extract_answer('#### 4', r'Answer: (\d+)') is None
