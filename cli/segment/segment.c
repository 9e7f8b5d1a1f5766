/* segment.c - `tessera segment`: masks of what points, boxes, a rough mask or words say, or of everything, by a SAM. segment.h
 * tells how its parts meet. */
#include "cli/segment/segment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- before the work ---- */

static bool load_prior(segment_job *j, ts_error *err)
{
    ts_image picture;
    if (!j->prior) return true;
    if (!ts_load_picture(j->prior, &picture, err)) return false;
    const bool ok = ts_mask_of_image(&picture, &j->prior_mask, err);
    ts_image_clear(&picture);
    if (!ok) return false;
    return ts_mask_area(&j->prior_mask) > 0 ||
           ts_fail(err, TS_ERR_ARGUMENT, "--prior %s has nothing inside: what is lighter than half is", j->prior);
}

static bool open_models(segment_job *j, ts_error *err)
{
    if (!ts_check_model(j->model, "model", TS_KIND_SAM, err)) return false;
    j->weights = ts_open_weights(j->model, j->common.quiet, err);
    if (!j->weights || !ts_sam_config_read(j->weights, &j->config, err)) return false;
    return !j->text || segment_words_open(j, err);
}

/* Standard input and pipes give their picture once. */
static bool read_once(const char *path)
{
    struct stat about;
    return ts_is_standard(path) || (stat(path, &about) == 0 && !S_ISREG(about.st_mode));
}

/* Whether the picture can be read and encoded, and its size; its pixels stay where they cannot be had again, or are the only
 * ones. */
static bool look_at(segment_job *j, segment_picture *p, ts_error *err)
{
    ts_image picture;
    ts_error why = {0};
    if (!ts_load_picture(p->path, &picture, err)) return false;
    if (!ts_sam_takes(&j->config, picture.width, picture.height, &why)) {
        ts_image_clear(&picture);
        return ts_fail(err, why.code, "%s: %s", p->path, why.text);
    }
    p->width = picture.width;
    p->height = picture.height;
    if (j->pictures == 1 || read_once(p->path)) p->kept = picture;
    else ts_image_clear(&picture);
    return true;
}

/* A picture that cannot be read is left out, and the others go on, where there are others. */
static bool skip(segment_job *j, int at, bool alone, const ts_error *why, ts_error *err)
{
    if (alone) return ts_fail(err, why->code, "%s", why->text);
    if (!ts_leave_out(&j->left_out, why, err) ||
        (j->common.json && !segment_report_skipped(j, j->picture[at].path, why->text, err)))
        return false;
    segment_drop(j, at);
    return true;
}

static bool look_at_all(segment_job *j, ts_error *err)
{
    const int all = j->pictures;
    ts_progress_begin(&j->progress, "reading", all, j->common.quiet);
    bool ok = true;
    for (int i = 0, read = 1; ok && i < j->pictures; read++) {
        ts_error why = {0};
        if (!look_at(j, &j->picture[i], &why)) ok = skip(j, i, all == 1, &why, err);
        else ok = segment_check_prompts(j, &j->picture[i++], err);
        ts_progress_step(&j->progress, read);
    }
    ts_progress_end(&j->progress);
    if (ok && j->pictures == 0)
        return ts_fail(err, TS_ERR_FORMAT, "none of the %d pictures can be read; the first: %s", all, j->left_out.first.text);
    return ok;
}

static bool start(segment_job *j, ts_error *err)
{
    j->dev = ts_open_device(&j->common, false, err);
    if (!j->dev) return false;
    j->sam = ts_sam_new(j->dev, &(ts_sam_desc){.weights = j->weights, .batch = j->options.points_per_batch}, err);
    if (!j->sam || (j->folders[3] && !ts_make_folder(j->folders[3], err))) return false;
    ts_announce_device(&j->common, j->dev);
    ts_say_passed(&j->left_out);
    return !j->text || segment_words_start(j, err);
}

/* ---- a picture ---- */

/* Its embedding, from the file or from the encoder. */
static bool encode(segment_job *j, const segment_picture *p, const ts_image *picture, ts_error *err)
{
    if (p->encoded) return ts_sam_load_embedding(j->sam, p->embedding, picture, err);
    if (!ts_sam_set_picture(j->sam, picture, err)) return false;
    if (!p->embedding) return true;
    if (!ts_sam_save_embedding(j->sam, p->embedding, err)) return false;
    if (!j->common.json) ts_put_line(p->embedding);
    return true;
}

static bool ask(segment_job *j, const ts_image *picture, segment_masks *m, ts_error *err)
{
    if (segment_looks_for_all(j)) return segment_ask_all(j, j->options.crop_n_layers > 0 ? picture : NULL, m, err);
    return j->prompts == 0 || segment_ask(j, m, err);
}

static bool work_on(segment_job *j, const segment_picture *p, const ts_image *picture, segment_masks *m, ts_error *err)
{
    double began = ts_now_ms();
    if (j->options.crop_n_layers == 0 && !encode(j, p, picture, err)) return false;
    j->ms.encode = ts_now_ms() - began;
    ts_say_stage(&j->common, "%s: %s", p->path, p->encoded ? "embedding taken" : "encoded");
    began = ts_now_ms();
    if (!ask(j, picture, m, err)) return false;
    j->ms.decode = ts_now_ms() - began;
    ts_say_stage(&j->common, "%s: %d masks", p->path, m->count);
    began = ts_now_ms();
    if (j->text && !segment_words_rank(j, picture, m, err)) return false;
    j->ms.words = ts_now_ms() - began;
    began = ts_now_ms();
    if (!segment_write(j, p, picture, m, err)) return false;
    j->ms.write = ts_now_ms() - began;
    return true;
}

static void say_nothing(const segment_job *j, const segment_picture *p, const segment_masks *m)
{
    if (j->common.quiet) return;
    if (segment_looks_for_all(j) && m->count == 0)
        ts_say("note: nothing was found in %s: --pred-iou-thresh and --stability-score-thresh may be lower", p->path);
    for (int i = 0; i < m->count; i++)
        if (m->list[i].found.area == 0) ts_say("note: %s: mask %d is empty", p->path, i);
}

static bool do_picture(segment_job *j, segment_picture *p, ts_error *err)
{
    ts_image read = {0};
    segment_masks masks = {0};
    if (!p->kept.data && !ts_load_picture(p->path, &read, err)) return false;
    const ts_image *picture = p->kept.data ? &p->kept : &read;
    bool ok = (picture->width == p->width && picture->height == p->height) ||
              ts_fail(err, TS_ERR_IO, "%s has changed since it was first read", p->path);
    ok = ok && work_on(j, p, picture, &masks, err) && (!j->common.json || segment_report(j, p, &masks, err));
    if (ok) say_nothing(j, p, &masks);
    segment_masks_clear(&masks);
    ts_image_clear(&read);
    ts_image_clear(&p->kept);
    return ok;
}

static bool do_all(segment_job *j, ts_error *err)
{
    ts_progress_begin(&j->progress, "segmenting", (int64_t)j->pictures * 1000, j->common.quiet);
    bool ok = true;
    for (j->at = 0; ok && j->at < j->pictures; j->at++) {
        ok = do_picture(j, &j->picture[j->at], err);
        ts_progress_step(&j->progress, (j->at + 1) * INT64_C(1000));
    }
    ts_progress_end(&j->progress);
    if (!ok || !j->common.json) return ok && ts_flush_output(err);
    while (j->skipped && j->skipped->child) cJSON_AddItemToArray(j->report, cJSON_DetachItemFromArray(j->skipped, 0));
    cJSON *report = j->report;
    j->report = NULL;
    return ts_print_json(report, err);
}

/* ---- the command ---- */

static void clear(segment_job *j)
{
    cJSON_Delete(j->report);
    cJSON_Delete(j->skipped);
    ts_sam_free(j->sam);
    ts_clip_use_close(&j->clip);
    ts_device_free(j->dev);
    ts_weights_free(j->weights);
    ts_mask_clear(&j->prior_mask);
    segment_outputs_clear(j);
    free(j->text_features);
    free(j->prior_logits);
    free(j->prompt);
    free(j->box);
    free(j->label);
    free(j->point);
    ts_words_free(&j->box_words);
    ts_words_free(&j->point_words);
    ts_words_free(&j->given);
    ts_words_free(&j->words);
}

static int work(segment_job *j, int argc, char **argv)
{
    ts_error err = {0};
    int status = segment_options(j, argc, argv);
    j->left_out.quiet = j->common.quiet;
    if (status < 0) status = segment_plan(j);
    if (status >= 0) return status;
    bool ok = open_models(j, &err) && load_prior(j, &err);
    if (ok) ts_say_stage(&j->common, "model opened");
    ok = ok && look_at_all(j, &err);
    if (ok) ts_say_stage(&j->common, "%d pictures read", j->pictures);
    ok = ok && start(j, &err) && do_all(j, &err);
    return ok ? ts_left_out_status("segment", &j->left_out) : ts_report("segment", &err);
}

int ts_cmd_segment(int argc, char **argv)
{
    segment_job *j = calloc(1, sizeof *j);
    if (!j) return ts_report("segment", &(ts_error){TS_ERR_MEMORY, "out of memory"});
    const int status = work(j, argc, argv);
    clear(j);
    free(j);
    return status;
}
