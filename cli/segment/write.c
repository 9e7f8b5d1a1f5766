/* write.c - a picture's masks, overlay and cut-out. The files of a folder of masks are new ones, so that what a failure leaves
 * half done can be taken back. */
#include "cli/segment/segment.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- a folder of masks, as the published generator has it ---- */

static bool mask_path(const char *folder, int number, char out[4096], ts_error *err)
{
    return snprintf(out, 4096, "%s/%d.png", folder, number) < 4096 ||
           ts_fail(err, TS_ERR_IO, "the output's name is too long: %.200s", folder);
}

static void put_row(FILE *f, const segment_job *j, int number, const segment_mask *m)
{
    const ts_sam_found *s = &m->found;
    const ts_box *b = &s->box;
    fprintf(f, "%d,%lld,%d,%d,%d,%d,", number, (long long)s->area, b->x0, b->y0, b->x1 - b->x0, b->y1 - b->y0);
    if (m->prompt < 0) fprintf(f, "%.9g,%.9g", s->point[0], s->point[1]);
    else if (j->points) fprintf(f, "%.9g,%.9g", (double)j->point[0], (double)j->point[1]);
    else fputc(',', f);
    fprintf(f, ",%.9g,%.9g,%d,%d,%d,%d\n", s->predicted_iou, s->stability_score, s->crop[0], s->crop[1], s->crop[2], s->crop[3]);
}

static bool write_table(const segment_job *j, const char *folder, const segment_masks *m, ts_error *err)
{
    char path[4096], *text = NULL;
    size_t size = 0;
    if (snprintf(path, sizeof path, "%s/metadata.csv", folder) >= (int)sizeof path)
        return ts_fail(err, TS_ERR_IO, "the output's name is too long: %.200s", folder);
    FILE *f = open_memstream(&text, &size);
    if (!f) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %s", path);
    fputs("id,area,bbox_x0,bbox_y0,bbox_w,bbox_h,point_input_x,point_input_y,predicted_iou,stability_score,crop_box_x0,"
          "crop_box_y0,crop_box_w,crop_box_h\n",
          f);
    for (int i = 0; i < m->count; i++) put_row(f, j, i, &m->list[i]);
    bool ok = fclose(f) == 0 || ts_fail(err, TS_ERR_MEMORY, "out of memory for %s", path);
    ok = ok && ts_file_write(path, text, size, err);
    free(text);
    return ok;
}

static bool write_one(const char *path, const segment_mask *m, ts_error *err)
{
    ts_mask mask;
    if (!ts_rle_mask(&m->found.mask, &mask, err)) return false;
    const bool ok = ts_save_mask(path, &mask, err);
    ts_mask_clear(&mask);
    return ok;
}

static bool write_folder(const segment_job *j, const char *folder, const segment_masks *m, ts_error *err)
{
    char path[4096];
    const bool above = ts_is_folder(j->folders[0]), there = ts_is_folder(folder);
    int written = 0;
    bool ok = ts_make_folder(j->folders[0], err) && ts_make_folder(folder, err);
    for (; ok && written < m->count; written += ok) {
        ok = mask_path(folder, written, path, err) &&
             (!ts_same_file(path, path) || ts_fail(err, TS_ERR_IO, "%s is there already", path)) &&
             write_one(path, &m->list[written], err);
    }
    if (ok && write_table(j, folder, m, err)) return true;
    while (written-- > 0)
        if (mask_path(folder, written, path, NULL)) unlink(path);
    if (!there) rmdir(folder);
    if (!above) rmdir(j->folders[0]); /* unless another picture's masks are in it */
    return false;
}

static bool write_masks(const segment_job *j, const segment_picture *p, const segment_masks *m, ts_error *err)
{
    if (!p->masks) return true;
    if (j->folders[0]) return write_folder(j, p->masks, m, err);
    if (m->count > 0) return write_one(p->masks, &m->list[0], err);
    return ts_fail(err, TS_ERR_FORMAT,
                   "nothing was found in %s, so there is no mask for %s: lower --pred-iou-thresh or --stability-score-thresh",
                   p->path, p->masks);
}

/* ---- over the picture ---- */

typedef struct {
    int64_t area;
    int at;
} sized;

static int largest_first(const void *a, const void *b)
{
    const sized *x = a, *y = b;
    return x->area < y->area ? 1 : x->area > y->area ? -1 : x->at - y->at;
}

/* Large masks first, so that what lies in them is seen. */
static bool lay_masks(ts_image *picture, const segment_masks *m, ts_error *err)
{
    sized *order = malloc((size_t)(m->count + 1) * sizeof *order);
    bool ok = order != NULL;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for an overlay");
    for (int i = 0; ok && i < m->count; i++) order[i] = (sized){m->list[i].found.area, i};
    if (ok) qsort(order, (size_t)m->count, sizeof *order, largest_first);
    for (int i = 0; ok && i < m->count; i++) {
        ts_mask mask;
        uint8_t colour[3];
        ts_mask_colour(order[i].at, colour);
        ok = ts_rle_mask(&m->list[order[i].at].found.mask, &mask, err) && ts_overlay_mask(picture, &mask, colour, err);
        ts_mask_clear(&mask);
    }
    free(order);
    return ok;
}

static bool write_overlay(const char *path, const ts_image *picture, const segment_masks *m, ts_error *err)
{
    ts_image laid;
    if (!ts_image_copy(picture, &laid, err)) return false;
    const bool ok = lay_masks(&laid, m, err) && ts_save_picture(path, &laid, err);
    ts_image_clear(&laid);
    return ok;
}

/* What is inside any of the masks. */
static bool write_cutout(const char *path, const ts_image *picture, const segment_masks *m, ts_error *err)
{
    ts_mask all, one;
    const size_t pixels = (size_t)picture->width * (size_t)picture->height;
    bool ok = ts_mask_new(picture->width, picture->height, &all, err);
    for (int i = 0; ok && i < m->count; i++) {
        ok = ts_rle_mask(&m->list[i].found.mask, &one, err);
        for (size_t k = 0; ok && k < pixels; k++) all.data[k] |= one.data[k];
        ts_mask_clear(&one);
    }
    ok = ok && ts_save_cutout(path, picture, &all, err);
    ts_mask_clear(&all);
    return ok;
}

static void name_on_output(const segment_job *j, const char *path)
{
    if (path && !j->common.json && !ts_is_standard(path)) ts_put_line(path);
}

bool segment_write(segment_job *j, const segment_picture *p, const ts_image *picture, const segment_masks *m, ts_error *err)
{
    for (int i = 1; i < 3; i++)
        if (j->folders[i] && !ts_make_folder(j->folders[i], err)) return false;
    if (!write_masks(j, p, m, err) || (p->overlay && !write_overlay(p->overlay, picture, m, err)) ||
        (p->cutout && !write_cutout(p->cutout, picture, m, err)))
        return false;
    name_on_output(j, p->masks);
    name_on_output(j, p->overlay);
    name_on_output(j, p->cutout);
    return true;
}
