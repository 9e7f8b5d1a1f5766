/* sheet.c - contact sheets: pictures in rows and columns, and `tessera sheet`, which makes one of files. */
#include <string.h>

#include "cli/cli.h"

static const char name[] = "sheet";
enum { GAP = 4, WHITE = 255, MAX_SIDE = 1 << 14 };

void ts_sheet_put(ts_image *sheet, const ts_image *picture, int x, int y)
{
    for (int row = 0; row < picture->height; row++)
        memcpy(sheet->data + ((size_t)(y + row) * (size_t)sheet->width + (size_t)x) * 3,
               picture->data + (size_t)row * (size_t)picture->width * 3, (size_t)picture->width * 3);
}

bool ts_sheet_fit(ts_image *sheet, const ts_image *picture, int x, int y, int side, ts_error *err)
{
    const int longer = picture->width > picture->height ? picture->width : picture->height;
    const int width = (int)((int64_t)picture->width * side / longer), height = (int)((int64_t)picture->height * side / longer);
    ts_image small = {0};
    if (!ts_image_resize(picture, width > 0 ? width : 1, height > 0 ? height : 1, TS_RESIZE_BICUBIC, &small, err)) return false;
    ts_sheet_put(sheet, &small, x + (side - small.width) / 2, y + (side - small.height) / 2);
    ts_image_clear(&small);
    return true;
}

typedef struct {
    ts_common common;
    const char *out;
    int columns, side;
    ts_words pictures;
} sheet_command;

static int parse(sheet_command *s, int argc, char **argv)
{
    const ts_option options[] = {
        {'o', "output", "FILE", TS_OPT_TEXT, &s->out, 0, 0, "the sheet (.png, .jpg, .webp), or -, standard output"},
        {0, "columns", "N", TS_OPT_INT, &s->columns, 1, 1000, "pictures in a row; 4"},
        {0, "side", "PX", TS_OPT_INT, &s->side, 1, 8192, "room of a picture: its longer side is brought to it; 224"},
    };
    return ts_options_parse(&(ts_command){.name = name,
                                          .usage = "-o FILE PICTURE... [options]",
                                          .summary = "lays pictures out in rows, to look at many at once",
                                          .example = "  tessera sheet -o sheet.png canvases/*.png --columns 5\n",
                                          .options = options,
                                          .count = sizeof options / sizeof *options,
                                          .rest = &s->pictures,
                                          .least = 1,
                                          .most = 10000,
                                          .rest_name = "PICTURE",
                                          .common = &s->common},
                            argc, argv);
}

static bool draw(const sheet_command *s, ts_error *err)
{
    const int columns = s->pictures.count < s->columns ? s->pictures.count : s->columns;
    const int rows = (s->pictures.count + columns - 1) / columns, step = s->side + GAP;
    const int64_t width = (int64_t)columns * step + GAP, height = (int64_t)rows * step + GAP;
    if (width > MAX_SIDE || height > MAX_SIDE)
        return ts_fail(err, TS_ERR_ARGUMENT, "a sheet of %lld x %lld pixels is too large: at most %d a side (--side, --columns)",
                       (long long)width, (long long)height, MAX_SIDE);
    ts_image sheet;
    if (!ts_image_new((int)width, (int)height, &sheet, err)) return false;
    memset(sheet.data, WHITE, (size_t)width * (size_t)height * 3);
    bool ok = true;
    for (int i = 0; ok && i < s->pictures.count; i++) {
        ts_image picture = {0};
        ok = ts_load_picture(s->pictures.items[i], &picture, err) &&
             ts_sheet_fit(&sheet, &picture, GAP + i % columns * step, GAP + i / columns * step, s->side, err);
        ts_image_clear(&picture);
    }
    ok = ok && ts_save_picture(s->out, &sheet, err);
    ts_image_clear(&sheet);
    return ok;
}

static bool check(const sheet_command *s, ts_error *err)
{
    for (int i = 0; i < s->pictures.count; i++)
        if (ts_same_file(s->pictures.items[i], s->out))
            return ts_fail(err, TS_ERR_ARGUMENT, "sheet %s would overwrite one of its pictures", s->out);
    return ts_check_writable(s->out, err);
}

int ts_cmd_sheet(int argc, char **argv)
{
    sheet_command s = {.columns = 4, .side = 224};
    ts_error err = {0};
    int status = parse(&s, argc, argv);
    if (status < 0 && !s.out) status = ts_usage_error(name, "-o FILE is missing: where the sheet goes");
    if (status < 0 && !ts_is_standard(s.out) && !ts_image_writable(s.out))
        status = ts_usage_error(name, "-o %s: the name must end in %s", s.out, ts_image_endings());
    if (status < 0 && ts_count_standard(&s.pictures) > 1)
        status = ts_usage_error(name, "standard input (-) is one picture, but is named more than once");
    if (status < 0) status = check(&s, &err) && draw(&s, &err) ? TS_EXIT_DONE : ts_report(name, &err);
    ts_words_free(&s.pictures);
    return status;
}
