/* merge.c - `tessera eval merge`: the parts of an evaluation, which ran side by side, as one result. */
#include "cli/eval/protocol.h"

static const char name[] = "eval merge";

int ts_eval_merge(int argc, char **argv)
{
    ts_common common = {0};
    ts_words files = {0};
    const char *csv = NULL;
    ts_error err = {0};
    const ts_option options[] = {{0, "csv", "FILE", TS_OPT_TEXT, &csv, 0, 0, "a line of numbers a trial, for a spreadsheet"}};
    int status =
        ts_options_parse(&(ts_command){.name = name,
                                       .usage = "FILE [FILE ...] [options]",
                                       .summary = "makes one result of the journals that the parts of an evaluation wrote",
                                       .example = "  tessera eval merge part1.jsonl part2.jsonl\n",
                                       .options = options,
                                       .count = 1,
                                       .rest = &files,
                                       .least = 1,
                                       .most = 1 << 16,
                                       .rest_name = "a journal",
                                       .common = &common,
                                       .takes = TS_TAKES_JSON},
                         argc, argv);
    if (status < 0) {
        eval_journal j = {0};
        bool ok = true;
        for (int i = 0; ok && i < files.count; i++) ok = eval_journal_read(&j, files.items[i], &err);
        const cJSON *all = cJSON_GetObjectItem(j.head, "trials");
        if (ok && !cJSON_IsNumber(all))
            ok = ts_fail(&err, TS_ERR_FORMAT, "%s does not say how many trials there are", files.items[0]);
        if (ok && cJSON_GetObjectItem(j.head, "folds")) ok = eval_folds_summarise(&j, common.json, csv, NULL, &err);
        else if (ok) ok = eval_journal_summarise(&j, all->valueint, common.json, csv, &err);
        status = ok ? TS_EXIT_DONE : ts_report(name, &err);
        eval_journal_close(&j);
    }
    ts_words_free(&files);
    return status;
}
