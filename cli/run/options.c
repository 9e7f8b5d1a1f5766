/* options.c - the options of `tessera run`: those of every model, and the engines' own. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "cli/run/run.h"
#include "mae/mae.h"
#include "matching/matching.h"
#include "painter/painter.h"
#include "strokes/strokes.h"

static const char EXAMPLE[] =
    "  tessera run --model checkpoint-1000.pth -e photo1.jpg mask1.png -q photo2.jpg -o answer.png\n"
    "  tessera run --model checkpoint-1000.pth -e photo1.jpg mask1.png -e photo3.jpg mask3.png -q photos/ -o answers/\n"
    "  tessera run --model checkpoint-1000.pth --examples pairs/ --top 3 --by ViT-L-14.pt -q photos/ -o answers/\n"
    "  tessera run --model seggpt_vit_large.pth -e frame1.png mask1.png -q frames/ --follow 2 -o masks/ --mask\n";

int run_model_options(run_job *r, ts_option list[RUN_MODEL_OPTIONS])
{
    const ts_option options[] = {
        {'m', "model", "FILE", TS_OPT_TEXT, &r->model, 0, 0,
         "safetensors or a PyTorch checkpoint: an MAE-VQGAN, Painter or SegGPT; where the examples' outputs are masks, a DINOv2 "
         "or "
         "DINOv3, CLIP or SAM as well; a model of tessera strokes, which wants no examples; or the word pixels, which learns "
         "one from them"},
        {0, "vqgan", "FILE", TS_OPT_TEXT, &r->mae.vqgan, 0, 0, "the VQGAN, where the model's file holds none"},
        {0, "heads", "N", TS_OPT_INT, &r->mae.heads, 1, 1024,
         "attention heads of the encoder, or of a CLIP's image tower, where nothing tells them"},
        {0, "decoder-heads", "N", TS_OPT_INT, &r->mae.decoder_heads, 1, 1024, "attention heads of the decoder, likewise"},
        {0, "canvas", "PATH", TS_OPT_TEXT, &r->mae.canvas, 0, 0,
         "keep the whole canvas too: a file or a folder, as for -o; of several the others are NAME-2.png and so on"},
        {0, "per-canvas", "N", TS_OPT_INT, &r->mae.per_canvas, 1, TS_GRID_MAX_EXAMPLES,
         "pairs on a canvas: more go on further canvases, and what each makes of the query is averaged; as the model's file "
         "says, or 7"},
        {0, "side", "right|left", TS_OPT_CHOICE, &r->mae.side, 0, 0, "where the examples' outputs stand; right"},
        {0, "transposed", NULL, TS_OPT_FLAG, &r->mae.transposed, 0, 0, "examples in columns instead of rows"},
        {0, "arrange", "N", TS_OPT_INT, &r->mae.arrange, 1, TS_GRID_ARRANGEMENTS,
         "arrangement 1 to 8 of a pair and the query on a canvas, as prompt-SelF numbers them (1 is the usual one); the model "
         "must have learned it"},
        {0, "ensemble", "mean|product|max|pixels|vote", TS_OPT_CHOICE, &r->mae.ensemble, 0, 0,
         "answer from all eight arrangements: the mean, product or largest of the codes' probabilities, the mean of the answers' "
         "pixels, or a vote of black and white masks; eight times the work"},
        {0, "border", "FILE", TS_OPT_TEXT, &r->mae.border, 0, 0, "a learned border for the examples (tessera tune border)"},
        {0, "fusion", "FILE", TS_OPT_TEXT, &r->mae.fusion, 0, 0,
         "a learned fusion of the examples, however many, into one (tessera tune fusion)"},
        {0, "task", "FILE", TS_OPT_TEXT, &r->mae.task, 0, 0,
         "task vectors (tessera tune task) in place of examples: none is given"},
        {0, "guide", "W", TS_OPT_REAL, &r->mae.guide, 0.001, TS_INPAINT_GUIDE,
         "let the examples count for more: codes by u + W (c - u), c what the model says of the canvas and u of the same without "
         "its "
         "examples; 1, the default: c alone. Twice the work"},
        {0, "steps", "T", TS_OPT_INT, &r->mae.steps, 1, TS_INPAINT_STEPS,
         "paint the hole T times, each time with what was surest before shown as pixels (as IMProv); 1. T times the work"},
        {0, "background", "COLOUR", TS_OPT_TEXT, &r->mae.background, 0, 0, "between the cells: black, white or #rrggbb; black"},
        {0, "filter", "bilinear|bicubic", TS_OPT_CHOICE, &r->mae.filter, 0, 0, "resizes pictures to cells; bilinear"},
        {0, "temperature", "T", TS_OPT_REAL, &r->mae.temperature, 0, 100, "sample the codes; 0, the default: the most likely"},
        {0, "blend", "T", TS_OPT_REAL, &r->mae.blend, 0, TS_MAE_MAX_BLEND,
         "paint the mean of all codes by softmax(logits / T); 0: one code a place; what the model's file says, else 0"},
        {0, "views", "N", TS_OPT_INT, &r->mae.views, 1, TS_GRID_VIEWS,
         "do it to the pictures as they are, mirrored, turned and recoloured, and answer with the median of all N: steadier, N "
         "times the work; what the model's file says, else 1"},
        {0, "keep-codes", NULL, TS_OPT_FLAG, &r->mae.keep_codes, 0, 0, "visible places keep the canvas's own codes"},
        {0, "batch", "N", TS_OPT_INT, &r->mae.batch, 1, 256, "canvases in one run of the model; 8 on a GPU, else 1"},
        {0, "kind", "instance|semantic", TS_OPT_CHOICE, &r->painter.kind, 0, 0,
         "what a SegGPT is told to segment: one thing, or all of a class; instance"},
        {0, "follow", "N", TS_OPT_INT, &r->painter.follow, 0, TS_PAINTER_MAX_EXAMPLES - 1,
         "the queries are frames of a film, in order: the N before a frame, with their own answers in black and white, are "
         "examples as well (Painter, SegGPT); 0"},
        {0, "size", "R", TS_OPT_INT, &r->painter.size, 1, TS_PAINTER_MAX_SIDE,
         "pixels a side that pictures are brought to (Painter, SegGPT), a multiple of 16: more shows smaller things and takes "
         "longer; as the model was trained, 448"},
        {0, "fit", "nearest|bilinear|bicubic", TS_OPT_CHOICE, &r->painter.fit, 0, 0,
         "brings an answer to the query's size (Painter, SegGPT): nearest for segments, bilinear for depth and classes, bicubic "
         "for restored photographs; nearest"},
        {0, "places", "N", TS_OPT_INT, &r->matching.places, 2, TS_INSID3_MOST_SIDE,
         "with a DINO or a CLIP: places a side that pictures are looked at in; 64. Fewer are faster"},
        {0, "debias", "N", TS_OPT_INT, &r->matching.components, 1, 8192,
         "with a DINO or a CLIP: directions that tell of positions and are taken out; 500 of 1024, 20 of 768"},
        {0, "tune", NULL, TS_OPT_FLAG, &r->matching.tune, 0, 0,
         "with a SAM: learn from the examples how to mix its masks (PerSAM-F); some seconds, once"},
        {0, "features", "FILE", TS_OPT_TEXT, &r->matching.features, 0, 0,
         "with a SAM: a DINOv2 that says where the examples' things are (GF-SAM), instead of the SAM itself (PerSAM); with "
         "pixels "
         "or a model from strokes: a MAE, CLIP, SAM or DINO whose features are taken too"},
        {0, "units", "N", TS_OPT_INT, &r->strokes.hidden, 0, TS_STROKES_HIDDEN,
         "with pixels: hidden units of the network that is learned; 0: none, a logistic regression; 32"},
        {0, "smooth", "R", TS_OPT_INT, &r->strokes.smooth, 0, 256,
         "with pixels or a model from strokes: smooth what it is sure of over R pixels, edges kept; 0"},
        {0, "text-heads", "N", TS_OPT_INT, &r->matching.text_heads, 1, 1024,
         "attention heads of a CLIP's text tower, where nothing tells them"},
        {0, "activation", "auto|quick_gelu|gelu", TS_OPT_CHOICE, &r->matching.activation, 0, 0,
         "a CLIP's, where nothing tells it"},
    };
    const int count = sizeof options / sizeof *options;
    static_assert(sizeof options / sizeof *options <= RUN_MODEL_OPTIONS, "more options than there is room for");
    for (int i = 0; i < count; i++) list[i] = options[i];
    r->mae.blend = -1;
    r->mae.ensemble = -1;
    r->strokes.hidden = -1;
    return count;
}

static int parse(run_job *r, int argc, char **argv)
{
    const ts_option first[] = {
        {'e', "example", "IN OUT", TS_OPT_WORDS, &r->examples, 0, 0, "an example pair; up to 64 times"},
        {0, "examples", "DIR", TS_OPT_TEXT, &r->lookup.folder, 0, 0,
         "instead: a folder of pairs, NAME.* with NAME_target.*, of which each query gets those most like it (--top, --by)"},
        {0, "targets", "DIR", TS_OPT_TEXT, &r->lookup.targets, 0, 0,
         "the folder of the examples' outputs, where they stand apart under like names"},
        {'q', "query", "QUERY", TS_OPT_WORDS, &r->queries, 0, 0,
         "a picture to do it to, -, which is standard input, or a folder of pictures; more may follow"},
        {'o', "output", "PATH", TS_OPT_TEXT, &r->out, 0, 0,
         "the answer's file (.png, .jpg, or .webp without loss), or -, standard output; with several queries a folder"},
        {0, "mask", NULL, TS_OPT_FLAG, &r->mask, 0, 0,
         "answers as masks: a PNG of one channel, 255 where the answer has a colour of the examples' outputs that is not their "
         "background (black, or what is most along their edges)"},
        {0, "overlay", "PATH", TS_OPT_TEXT, &r->overlay, 0, 0,
         "the answer laid over the query too: a file or a folder, as for -o; what is background stays as it was"},
        {0, "palette", NULL, TS_OPT_FLAG, &r->palette, 0, 0,
         "every pixel of an answer becomes the nearest colour of the examples' outputs, which have at most 64"},
        {0, "no-palette", NULL, TS_OPT_FLAG, &r->no_palette, 0, 0,
         "answers keep the colours that the model painted, where it is done by itself"},
    };
    const ts_option last[] = {
        {0, "cell", NULL, TS_OPT_FLAG, &r->cell, 0, 0, "the answer at its size on the canvas, not at the query's own"},
        {0, "strict", NULL, TS_OPT_FLAG, &r->left_out.strict, 0, 0, TS_STRICT_HELP},
    };
    enum { FIRST = sizeof first / sizeof *first, LAST = sizeof last / sizeof *last };
    ts_option options[FIRST + RUN_LOOK_OPTIONS + RUN_MODEL_OPTIONS + LAST];
    memcpy(options, first, sizeof first);
    int count = FIRST + run_look_options(&r->lookup.look, options + FIRST);
    count += run_model_options(r, options + count);
    memcpy(options + count, last, sizeof last);
    count += LAST;
    return ts_options_parse(
        &(ts_command){.name = "run",
                      .usage = "-e IN OUT [-e IN OUT ...] | --examples DIR -q QUERY [QUERY ...] -o PATH [options]",
                      .summary = "does to each query what the example pairs show",
                      .example = EXAMPLE,
                      .options = options,
                      .count = count,
                      .rest = &r->more,
                      .most = 1 << 20,
                      .rest_name = "query",
                      .given = &r->given,
                      .common = &r->common,
                      .takes = TS_TAKES_DEVICE | TS_TAKES_PRECISION | TS_TAKES_SEED | TS_TAKES_JSON},
        argc, argv);
}

bool run_colour_read(const char *text, uint8_t out[3])
{
    unsigned rgb;
    int used = 0;
    if (strcmp(text, "black") == 0) rgb = 0;
    else if (strcmp(text, "white") == 0) rgb = 0xffffff;
    else if (strlen(text) != 7 || strspn(text + 1, "0123456789abcdefABCDEF") != 6 || sscanf(text, "#%6x%n", &rgb, &used) != 1 ||
             used != 7)
        return false;
    for (int c = 0; c < 3; c++) out[c] = (uint8_t)(rgb >> (16 - 8 * c));
    return true;
}

bool run_settle_options(run_job *r, ts_error *err)
{
    if (r->mae.blend > 0 && r->mae.temperature > 0)
        return ts_fail(err, TS_ERR_ARGUMENT, "--blend paints the mean of the codes, --temperature draws one: not both");
    if ((r->mae.arrange || r->mae.ensemble >= 0) && (r->mae.side || r->mae.transposed))
        return ts_fail(err, TS_ERR_ARGUMENT, "--%s says where everything stands: not with --side or --transposed",
                       r->mae.arrange ? "arrange" : "ensemble");
    if (r->mae.arrange && r->mae.ensemble >= 0)
        return ts_fail(err, TS_ERR_ARGUMENT, "--arrange is one arrangement, --ensemble is all eight: not both");
    if (r->mae.border && r->mae.fusion)
        return ts_fail(err, TS_ERR_ARGUMENT, "--border and --fusion were learned each for itself: not both");
    if (r->mae.fusion && (r->mae.steps > 1 || (r->mae.guide > 0 && r->mae.guide != 1)))
        return ts_fail(err, TS_ERR_ARGUMENT,
                       "--fusion makes one example of all, in no canvas that could be guided by or painted: not with --%s",
                       r->mae.steps > 1 ? "steps" : "guide");
    if (r->mae.steps > 1 && r->mae.temperature > 0)
        return ts_fail(err, TS_ERR_ARGUMENT, "--steps takes the likeliest codes, --temperature draws them: not both");
    static const char *const of_examples[] = {"per-canvas", "side",       "transposed", "arrange", "ensemble", "guide",
                                              "steps",      "background", "filter",     "border",  "fusion"};
    for (int i = 0; r->mae.task && i < r->given.count; i++)
        for (size_t k = 0; k < sizeof of_examples / sizeof *of_examples; k++)
            if (strcmp(r->given.items[i], of_examples[k]) == 0)
                return ts_fail(err, TS_ERR_ARGUMENT,
                               "--task answers without examples, on canvases as its file says: --%s has no place there",
                               of_examples[k]);
    if (r->mae.background && !run_colour_read(r->mae.background, r->mae.background_rgb))
        return ts_fail(err, TS_ERR_ARGUMENT, "--background %s is not black, white or #rrggbb", r->mae.background);
    return true;
}

int run_check_model_options(run_job *r, const char *command)
{
    ts_error why = {0};
    return run_settle_options(r, &why) ? -1 : ts_usage_error(command, "%s", why.text);
}

/* Whether examples are named, or looked for, but not both. -1, or the exit status. */
static int check_lookup(const run_job *r)
{
    static const char *const of_folder[] = {"targets", "top", "by", "clip", "lists"};
    if (r->lookup.folder && r->examples.count > 0)
        return ts_usage_error("run", "examples are named with -e, or looked for in a folder with --examples: not both");
    if (r->lookup.folder && !ts_is_folder(r->lookup.folder))
        return ts_usage_error("run", "--examples %s is no folder", r->lookup.folder);
    if (r->lookup.targets && !ts_is_folder(r->lookup.targets))
        return ts_usage_error("run", "--targets %s is no folder", r->lookup.targets);
    for (int i = 0; !r->lookup.folder && i < r->given.count; i++)
        for (size_t k = 0; k < sizeof of_folder / sizeof *of_folder; k++)
            if (strcmp(r->given.items[i], of_folder[k]) == 0)
                return ts_usage_error("run", "--%s is for a folder of examples: --examples DIR", of_folder[k]);
    return run_check_look(&r->lookup.look, "run");
}

/* What the options say together. -1, or the exit status. */
static int check(run_job *r)
{
    const int status = check_lookup(r);
    if (status >= 0) return status;
    if (r->examples.count == 0 && !r->lookup.folder && !r->mae.task && !run_has_learned(r))
        return ts_usage_error("run", "an example pair is missing: -e IN OUT, or --examples DIR");
    if ((r->examples.count > 0 || r->lookup.folder) && r->mae.task)
        return ts_usage_error("run", "--task answers without an example: neither -e nor --examples is wanted");
    if (r->examples.count > 2 * RUN_PAIRS)
        return ts_usage_error("run", "%d example pairs are too many: up to %d", r->examples.count / 2, RUN_PAIRS);
    if (r->queries.count + r->more.count == 0) return ts_usage_error("run", "a query is missing: -q QUERY");
    if (!r->out) return ts_usage_error("run", "an output is missing: -o PATH");
    if (ts_count_standard(&r->examples) + ts_count_standard(&r->queries) + ts_count_standard(&r->more) > 1)
        return ts_usage_error("run", "standard input (-) is one picture, but is named more than once");
    if (ts_is_standard(r->out) && r->common.json)
        return ts_usage_error("run", "--json and -o - would both go to standard output: name a file for one of them");
    if (r->mae.canvas && ts_is_standard(r->mae.canvas))
        return ts_usage_error("run", "--canvas - is not possible: standard output takes the answer alone");
    if (r->overlay && ts_is_standard(r->overlay))
        return ts_usage_error("run", "--overlay - is not possible: standard output takes the answer alone");
    if (r->overlay && r->cell)
        return ts_usage_error("run", "--overlay wants answers of the queries' own size, --cell leaves them at another");
    if (r->palette && r->no_palette) return ts_usage_error("run", "--palette or --no-palette: not both");
    return run_check_model_options(r, "run");
}

int run_options(run_job *r, int argc, char **argv)
{
    const int status = parse(r, argc, argv);
    return status < 0 ? check(r) : status;
}
