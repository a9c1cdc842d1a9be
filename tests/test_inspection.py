"Inspection of the shared data, where they are"
import pytest
from conftest import shared

from trm.data.inspection import inspect

@pytest.mark.parametrize('name,columns,rows', [
    ('gsm8k',    ('question', 'answer'),                 7473),
    ('sharegpt', ('conversations', 'conversations'), 1000)])
def test_shared_columns_are_found(name, columns, rows):
    ins = inspect(shared(f'{name}/train-00000-of-00001.parquet'))
    assert (ins.pairs.problem, ins.pairs.solution, ins.rows)==(*columns, rows)
    assert ins.kept>.9*rows
    assert len(str(ins).splitlines())>8
