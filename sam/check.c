/* check.c - whether a file holds all of a SAM. */
#include <stdlib.h>

#include "sam/internal.h"

/* Describes the model as it would run, which looks every tensor up; nothing is planned. */
static bool describe(const sam_model *m, ts_error *err)
{
    const ts_sam_config *c = &m->config;
    ts_graph *g = ts_graph_new();
    if (!g) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    const int64_t side = c->picture, tokens = 1 + c->masks;
    ts_sam_encode(g, m, ts_input(g, "pixels", TS_REAL, 4, (int64_t[]){1, side, side, 3}));
    const sam_image image =
        ts_sam_project(g, m, ts_sam_encode_prior(g, m, ts_input(g, "prior", TS_REAL, 4, (int64_t[]){1, c->low, c->low, 1})));
    ts_tensor *in = ts_input(g, "tokens", TS_REAL, 3, (int64_t[]){1, tokens, c->embed});
    ts_sam_decode(g, m, in, &image, &(sam_decode){.multimask = false});
    ts_sam_decode(g, m, in, &image, &(sam_decode){.multimask = true});
    const ts_error *wrong = ts_graph_error(g);
    const bool ok = ts_params_check(m->params, err) && ts_params_check(m->made, err) &&
                    (!wrong || ts_fail(err, wrong->code, "%s: %s", ts_weights_path(m->weights), wrong->text));
    ts_graph_free(g);
    return ok;
}

bool ts_sam_check(const ts_weights *w, ts_error *err)
{
    sam_model m = {.weights = w};
    sam_prompts prompts = {0};
    if (!ts_sam_config_read(w, &m.config, err)) return false;
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu"}, err); /* takes plain tensors where they lie in the file */
    const bool ok = dev && (m.params = ts_params_new(dev, w, "", err)) != NULL &&
                    (m.made = ts_params_new_converted(dev, NULL, "", ts_sam_make, &m, err)) != NULL && describe(&m, err) &&
                    ts_sam_prompts_load(&m, &prompts, err);
    free(prompts.memory);
    ts_params_free(m.params);
    ts_params_free(m.made);
    ts_device_free(dev);
    return ok;
}
