/* options.c - the options of `tessera segment`, and what they say together. */
#include <stdio.h>
#include <string.h>

#include "cli/segment/segment.h"

static const char EXAMPLE[] =
    "  tessera segment dog.jpg --model sam_vit_b_01ec64.pth --point 320,200 -o dog.png --overlay look.jpg\n"
    "  tessera segment dog.jpg --model sam_vit_b_01ec64.pth --point 320,200 --point 40,40,0 --cutout dog.png\n"
    "  tessera segment team.jpg --model sam_vit_b_01ec64.pth --box 10,20,180,400 --box 200,30,390,410 -o team/\n"
    "  tessera segment photos/ --model sam_vit_b_01ec64.pth --everything -o masks/\n"
    "  tessera segment street.jpg --model sam_vit_b_01ec64.pth --text \"a red car\" --clip ViT-B-32.pt -o car.png\n";

static const char NOTE[] =
    "A lone point is ambiguous (a shirt, or who wears it): three masks are made and the one that the model trusts most is\n"
    "taken; --multimask gives all. Boxes and several points give the model's single mask. x goes to the right and y down, in\n"
    "pixels of the picture. In a folder the masks are 0.png, 1.png, ... with metadata.csv; of several pictures each has a\n"
    "folder of its own. The constants of --everything are those of the published generator.\n";

/* Those of the generator of masks; without it they mean nothing. */
static const char *const OF_EVERYTHING[] = {
    "points-per-side",      "points-per-batch", "pred-iou-thresh", "stability-score-thresh", "stability-score-offset",
    "box-nms-thresh",       "crop-n-layers",    "crop-nms-thresh", "crop-overlap-ratio",     "crop-n-points-downscale-factor",
    "min-mask-region-area",
};
static const char *const OF_TEXT[] = {"clip", "vocab", "heads", "text-heads", "activation", "cut", "top"};

static int parse(segment_job *j, int argc, char **argv)
{
    ts_sam_everything_options *e = &j->options;
    const ts_option options[] = {
        {'m', "model", "FILE", TS_OPT_TEXT, &j->model, 0, 0,
         "a SAM: the published .pth, Hugging Face's safetensors, or MobileSAM's mobile_sam.pt"},
        {'o', "output", "PATH", TS_OPT_TEXT, &j->out, 0, 0,
         "the mask (.png, 0 and 255), or -, standard output; or a folder, for a file a mask"},
        {'p', "point", "X,Y[,0]", TS_OPT_WORDS, &j->point_words, 0, 0,
         "a point in the object, or with ,0 one that is not in it; repeated, all are of one object"},
        {'b', "box", "X0,Y0,X1,Y1", TS_OPT_WORDS, &j->box_words, 0, 0,
         "a box around the object: left, top, right, bottom; repeated, a mask each"},
        {0, "prior", "MASK", TS_OPT_TEXT, &j->prior, 0, 0,
         "a rough mask to start from, a picture of the same size, light inside; with points, a box, or alone"},
        {0, "multimask", NULL, TS_OPT_FLAG, &j->multimask, 0, 0, "all three masks of each prompt, not the one"},
        {'e', "everything", NULL, TS_OPT_FLAG, &j->everything, 0, 0, "every mask that a grid of points finds"},
        {'t', "text", "WORDS", TS_OPT_TEXT, &j->text, 0, 0,
         "of everything, what is most like the words, by a CLIP's likeness of its crop"},
        {'k', "top", "N", TS_OPT_INT, &j->top, 1, 100000, "with --text: how many masks, the most like first; 1"},
        {0, "clip", "FILE", TS_OPT_TEXT, &j->clip.model, 0, 0, "with --text: " TS_CLIP_MODEL_HELP},
        {0, "vocab", "FILE", TS_OPT_TEXT, &j->clip.vocab, 0, 0, "its vocabulary, where it does not stand beside it"},
        {0, "heads", "N", TS_OPT_INT, &j->clip.told.heads, 1, 4096,
         "attention heads of the CLIP's image tower, where nothing tells"},
        {0, "text-heads", "N", TS_OPT_INT, &j->clip.told.text_heads, 1, 4096, "of its text tower, likewise"},
        {0, "activation", "auto|quick_gelu|gelu", TS_OPT_CHOICE, &j->clip.told.activation, 0, 0, "its activation, likewise"},
        {0, "cut", NULL, TS_OPT_FLAG, &j->clip.cut, 0, 0, "cut words that are too many for it"},
        {0, "overlay", "PATH", TS_OPT_TEXT, &j->overlay, 0, 0,
         "the picture with its masks in colours (.png, .jpg or .webp); of several pictures a folder"},
        {0, "cutout", "PATH", TS_OPT_TEXT, &j->cutout, 0, 0,
         "the picture inside its masks, nothing outside (.png with alpha); of several pictures a folder"},
        {0, "embedding", "PATH", TS_OPT_TEXT, &j->embedding, 0, 0,
         "keep what the encoder made of the picture, or take it where it is there: then a prompt takes no time; of several "
         "pictures a folder"},
        {0, "points-per-side", "N", TS_OPT_INT, &e->points_per_side, 1, 1024, "of the grid; 32"},
        {0, "points-per-batch", "N", TS_OPT_INT, &e->points_per_batch, 1, 1024, "points in one run of the decoder; 64"},
        {0, "pred-iou-thresh", "X", TS_OPT_REAL, &e->pred_iou_thresh, 0, 1, "least score of the model's own; 0.88; 0: all"},
        {0, "stability-score-thresh", "X", TS_OPT_REAL, &e->stability_score_thresh, 0, 1,
         "how little a mask may change where it is cut higher or lower; 0.95"},
        {0, "stability-score-offset", "X", TS_OPT_REAL, &e->stability_score_offset, 0, 1000, "how much higher and lower; 1"},
        {0, "box-nms-thresh", "X", TS_OPT_REAL, &e->box_nms_thresh, 0, 1,
         "of two masks whose boxes overlap more, the better stays; 0.7"},
        {0, "crop-n-layers", "N", TS_OPT_INT, &e->crop_n_layers, 0, 4, "look again at 4, 16, ... crops of the picture; 0"},
        {0, "crop-nms-thresh", "X", TS_OPT_REAL, &e->crop_nms_thresh, 0, 1, "the same between crops; 0.7"},
        {0, "crop-overlap-ratio", "X", TS_OPT_REAL, &e->crop_overlap_ratio, 0, 1,
         "how much crops overlap, of the shorter side; 0.3413"},
        {0, "crop-n-points-downscale-factor", "N", TS_OPT_INT, &e->crop_n_points_downscale_factor, 1, 1024,
         "the grid of each further layer is so much coarser; 1"},
        {0, "min-mask-region-area", "N", TS_OPT_INT, &j->min_area, 0, 1 << 28,
         "fill holes and take out islands of fewer pixels; 0: none"},
        {0, "strict", NULL, TS_OPT_FLAG, &j->left_out.strict, 0, 0, TS_STRICT_HELP},
    };
    return ts_options_parse(
        &(ts_command){.name = "segment",
                      .usage = "PICTURE|FOLDER ... --model FILE (--point X,Y | --box X0,Y0,X1,Y1 | --prior MASK "
                               "| --everything | --text WORDS) [-o PATH] [options]",
                      .summary = "cuts out what points, boxes or words say, or everything, with a Segment Anything model",
                      .example = EXAMPLE,
                      .note = NOTE,
                      .options = options,
                      .count = sizeof options / sizeof *options,
                      .rest = &j->words,
                      .most = 1 << 20,
                      .rest_name = "PICTURE",
                      .given = &j->given,
                      .common = &j->common,
                      .takes = TS_TAKES_DEVICE | TS_TAKES_PRECISION | TS_TAKES_JSON},
        argc, argv);
}

bool segment_looks_for_all(const segment_job *j)
{
    return j->everything || j->text;
}

/* The first option given that is one of the list, or NULL. */
static const char *given_of(const segment_job *j, const char *const *list, size_t count)
{
    for (int i = 0; i < j->given.count; i++)
        for (size_t k = 0; k < count; k++)
            if (strcmp(j->given.items[i], list[k]) == 0) return list[k];
    return NULL;
}

/* What is asked of the pictures. -1, or the exit status. */
static int check_asked(const segment_job *j)
{
    static const char *const prompts[] = {"point", "box", "prior", "multimask"};
    const char *odd;
    const bool prompted = j->point_words.count || j->box_words.count || j->prior;
    if (segment_looks_for_all(j)) {
        if ((odd = given_of(j, prompts, sizeof prompts / sizeof *prompts)))
            return ts_usage_error("segment", "--%s looks for %s: --%s does not go with it", j->text ? "text" : "everything",
                                  j->text ? "what the words say" : "all there is", odd);
    } else {
        if ((odd = given_of(j, OF_EVERYTHING, sizeof OF_EVERYTHING / sizeof *OF_EVERYTHING)))
            return ts_usage_error("segment", "--%s is for --everything or --text, and neither is asked for", odd);
        if (!prompted && j->multimask) return ts_usage_error("segment", "--multimask wants a prompt: --point, --box or --prior");
        if (!prompted && (j->out || j->overlay || j->cutout || j->common.json || !j->embedding))
            return ts_usage_error("segment", "nothing is asked for: --point, --box, --prior, --everything or --text");
    }
    if (j->box_words.count > 1 && (j->point_words.count || j->prior))
        return ts_usage_error("segment", "several boxes are masks of their own: --%s goes with one box",
                              j->point_words.count ? "point" : "prior");
    if (j->text && !j->clip.model)
        return ts_usage_error("segment", "--text wants a CLIP that knows the words: --clip FILE; %s", ts_published(TS_KIND_CLIP));
    if (j->text && !j->text[strspn(j->text, " \t\r\n")]) return ts_usage_error("segment", "--text names nothing");
    if (!j->text && (odd = given_of(j, OF_TEXT, sizeof OF_TEXT / sizeof *OF_TEXT)))
        return ts_usage_error("segment", "--%s is for --text, which is not asked for", odd);
    return -1;
}

/* Where the results go. -1, or the exit status. */
static int check_outputs(const segment_job *j)
{
    const char *const paths[] = {j->out, j->overlay, j->cutout, j->embedding};
    int standard = 0;
    for (int i = 0; i < 4; i++) standard += paths[i] && ts_is_standard(paths[i]);
    if (!j->out && !j->overlay && !j->cutout && !j->common.json && !j->embedding)
        return ts_usage_error("segment", "an output is missing: -o PATH, --overlay PATH, --cutout PATH or --json");
    if (j->embedding && ts_is_standard(j->embedding))
        return ts_usage_error("segment", "--embedding - is not possible: it names a file that is kept");
    if (standard > 1) return ts_usage_error("segment", "standard output (-) takes one picture, but is named more than once");
    if (standard && j->common.json)
        return ts_usage_error("segment", "--json and - would both go to standard output: name a file for one of them");
    if (j->embedding && j->options.crop_n_layers > 0)
        return ts_usage_error("segment",
                              "--embedding is of the whole picture, and --crop-n-layers encodes parts of it: not both");
    return -1;
}

int segment_options(segment_job *j, int argc, char **argv)
{
    j->options = TS_SAM_EVERYTHING;
    j->top = 1;
    int status = parse(j, argc, argv);
    if (status >= 0) return status;
    j->options.min_mask_region_area = j->min_area;
    if (j->words.count == 0) return ts_usage_error("segment", "a PICTURE is missing");
    if (ts_count_standard(&j->words) + (j->prior && ts_is_standard(j->prior)) > 1)
        return ts_usage_error("segment", "standard input (-) is one picture, but is named more than once");
    status = check_asked(j);
    if (status < 0) status = check_outputs(j);
    if (status >= 0) return status;
    if (!j->model) return ts_usage_error("segment", "--model FILE is missing: a SAM; %s", ts_published(TS_KIND_SAM));
    ts_error err = {0};
    if (segment_looks_for_all(j) && !ts_sam_everything_check(&j->options, &err)) return ts_usage_error("segment", "%s", err.text);
    return segment_read_prompts(j);
}
