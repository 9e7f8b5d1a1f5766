/* report.c - what --json tells of a picture: its masks as COCO has them, with all that the model says of each. */
#include "cli/segment/segment.h"

#include <math.h>
#include <stdlib.h>

static double rounded(double ms)
{
    return round(ms * 1e3) * 1e-3;
}

/* Adds the array of numbers; false: out of memory, as in all of this file. */
static bool add_numbers(cJSON *to, const char *name, const double *numbers, int count)
{
    return cJSON_AddItemToObject(to, name, cJSON_CreateDoubleArray(numbers, count));
}

static bool add_segmentation(cJSON *to, const ts_rle *r)
{
    char *text = ts_rle_text(r, NULL);
    cJSON *s = text ? cJSON_AddObjectToObject(to, "segmentation") : NULL;
    const bool ok = s && add_numbers(s, "size", (double[]){r->height, r->width}, 2) && cJSON_AddStringToObject(s, "counts", text);
    free(text);
    return ok;
}

/* [[x, y], ...]: the point that a mask was found by, or all those of the prompt. */
static bool add_points(const segment_job *j, cJSON *to, const segment_mask *m)
{
    cJSON *list = cJSON_AddArrayToObject(to, "point_coords");
    if (m->prompt < 0) return list && cJSON_AddItemToArray(list, cJSON_CreateDoubleArray(m->found.point, 2));
    for (int i = 0; list && i < j->points; i++)
        if (!cJSON_AddItemToArray(list,
                                  cJSON_CreateDoubleArray((double[]){(double)j->point[2 * i], (double)j->point[2 * i + 1]}, 2)))
            return false;
    return list && (!j->points || cJSON_AddItemToObject(to, "point_labels", cJSON_CreateIntArray(j->label, j->points)));
}

static bool add_prompt_box(const segment_job *j, cJSON *to, const segment_mask *m)
{
    if (m->prompt < 0 || !j->boxes) return true;
    const float *b = j->box + 4 * (size_t)m->prompt;
    return add_numbers(to, "box", (double[]){(double)b[0], (double)b[1], (double)b[2], (double)b[3]}, 4);
}

static bool add_mask(const segment_job *j, const segment_picture *p, cJSON *list, int number, const segment_mask *m)
{
    cJSON *item = cJSON_CreateObject();
    const ts_sam_found *f = &m->found;
    const ts_box *b = &f->box;
    char path[4096 + 16];
    if (!cJSON_AddItemToArray(list, item)) return false;
    snprintf(path, sizeof path, j->folders[0] ? "%s/%d.png" : "%s", p->masks ? p->masks : "", number);
    return (!p->masks || cJSON_AddStringToObject(item, "file", path)) && add_segmentation(item, &f->mask) &&
           cJSON_AddNumberToObject(item, "area", (double)f->area) &&
           add_numbers(item, "bbox", (double[]){b->x0, b->y0, b->x1 - b->x0, b->y1 - b->y0}, 4) &&
           cJSON_AddNumberToObject(item, "predicted_iou", f->predicted_iou) &&
           cJSON_AddNumberToObject(item, "stability_score", f->stability_score) && add_points(j, item, m) &&
           add_numbers(item, "crop_box", (double[]){f->crop[0], f->crop[1], f->crop[2], f->crop[3]}, 4) &&
           add_prompt_box(j, item, m) && (!j->text || cJSON_AddNumberToObject(item, "similarity", (double)m->similarity));
}

static bool add_times(const segment_job *j, cJSON *to)
{
    cJSON *ms = cJSON_AddObjectToObject(to, "ms");
    return ms && cJSON_AddNumberToObject(ms, "encode", rounded(j->ms.encode)) &&
           cJSON_AddNumberToObject(ms, "decode", rounded(j->ms.decode)) &&
           (!j->text || cJSON_AddNumberToObject(ms, "words", rounded(j->ms.words))) &&
           cJSON_AddNumberToObject(ms, "write", rounded(j->ms.write));
}

static bool add_picture(const segment_job *j, const segment_picture *p, const segment_masks *m, cJSON *item)
{
    cJSON *masks = cJSON_AddStringToObject(item, "picture", p->path) && cJSON_AddNumberToObject(item, "width", p->width) &&
                           cJSON_AddNumberToObject(item, "height", p->height)
                       ? cJSON_AddArrayToObject(item, "masks")
                       : NULL;
    bool ok = masks != NULL;
    for (int i = 0; ok && i < m->count; i++) ok = add_mask(j, p, masks, i, &m->list[i]);
    return ok && (!p->overlay || cJSON_AddStringToObject(item, "overlay", p->overlay)) &&
           (!p->cutout || cJSON_AddStringToObject(item, "cutout", p->cutout)) &&
           (!p->embedding || cJSON_AddStringToObject(item, "embedding", p->embedding)) &&
           cJSON_AddStringToObject(item, "device", ts_device_about(j->dev)->name) &&
           cJSON_AddStringToObject(item, "precision", ts_precision_name(ts_device_precision(j->dev))) && add_times(j, item);
}

static bool add_to(cJSON **list, cJSON *item)
{
    if (!*list) *list = cJSON_CreateArray();
    return *list && cJSON_AddItemToArray(*list, item);
}

bool segment_report(segment_job *j, const segment_picture *p, const segment_masks *m, ts_error *err)
{
    cJSON *item = cJSON_CreateObject();
    return (add_to(&j->report, item) && add_picture(j, p, m, item)) ||
           ts_fail(err, TS_ERR_MEMORY, "out of memory for the report");
}

bool segment_report_skipped(segment_job *j, const char *path, const char *problem, ts_error *err)
{
    cJSON *item = cJSON_CreateObject();
    return (add_to(&j->skipped, item) && cJSON_AddStringToObject(item, "picture", path) &&
            cJSON_AddStringToObject(item, "problem", problem)) ||
           ts_fail(err, TS_ERR_MEMORY, "out of memory for the report");
}
