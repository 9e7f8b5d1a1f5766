/* sheet_rows.c - contact sheets of an evaluation: a trial a row. */
#include "cli/eval/eval.h"

enum { THUMB = 160, STEP = THUMB + 4 };

bool eval_sheet_new(ts_image *sheet, int rows, ts_error *err)
{
    return ts_image_new(EVAL_COLUMNS * STEP, rows * STEP, sheet, err);
}

bool eval_sheet_add(ts_image *sheet, int row, const ts_image *const pictures[EVAL_COLUMNS], ts_error *err)
{
    for (int i = 0; i < EVAL_COLUMNS; i++)
        if (!ts_sheet_fit(sheet, pictures[i], i * STEP + 2, row * STEP + 2, THUMB, err)) return false;
    return true;
}
