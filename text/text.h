/* text.h - texts as numbers: tokenizers, their vocabularies, Unicode. Knows no model.
 *
 *   ts_tokenizer *tok = ts_tokenizer_open("bpe_simple_vocab_16e6.txt.gz", &err);
 *   int n = ts_tokenizer_tokens(tok, "a dog", 77, false, ids, &err); */
#ifndef TESSERA_TEXT_H
#define TESSERA_TEXT_H

#include "engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- tokenizer ------------------------------------------------------------------------------------------------- */

/* Byte-pair encoding as published with CLIP, the repair of broken texts by the package ftfy, HTML's references and Unicode
 * included. Immutable once open: threads may share it. */
typedef struct ts_tokenizer ts_tokenizer;

/* `path`: bpe_simple_vocab_16e6.txt.gz (or unpacked), of which the first 48894 merges count, or any shorter list of its form (512
 * bytes, the merges, start and end are the symbols then); or Hugging Face's vocab.json, merges.txt beside it; told by content. */
ts_tokenizer *ts_tokenizer_open(const char *path, ts_error *err);
/* Looks for a vocabulary in the folder of `model_path`; the error says which names were looked for. */
ts_tokenizer *ts_tokenizer_find(const char *model_path, ts_error *err);
void ts_tokenizer_free(ts_tokenizer *t);
int ts_tokenizer_count(const ts_tokenizer *t); /* symbols: 49408 as published; start and end are the last two */
int ts_tokenizer_start(const ts_tokenizer *t);
int ts_tokenizer_end(const ts_tokenizer *t);
/* The ids of a text, without start and end; `*ids` is the caller's (free(); NULL where there are none). Returns their number, or
 * -1: the text is not UTF-8. */
int ts_tokenizer_encode(const ts_tokenizer *t, const char *text, int32_t **ids, ts_error *err);
/* start, ids, end, then zeros up to `context` places of `out`. A longer text is an error that names it, or with `cut` loses what
 * is too much, end last. Returns the number of places up to and with end, or -1. */
int ts_tokenizer_tokens(const ts_tokenizer *t, const char *text, int context, bool cut, int32_t *out, ts_error *err);
/* What a symbol stands for, UTF-8, "</w>" as published where it ends a word; NULL: no such id. Owned by the tokenizer. */
const char *ts_tokenizer_symbol(const ts_tokenizer *t, int id);

/* Learns byte-pair merges from texts (Sennrich et al. 2016, arXiv 1508.07909, algorithm 1): the pair of neighbours that stands
 * most often in their words becomes one symbol, again and again, until there are `merges` of them or none stands twice. Writes
 * the list in the form that ts_tokenizer_open takes, whole or not at all. Returns the number of merges, or -1. */
int ts_learn_vocabulary(const char *const *texts, int64_t count, int merges, const char *path, ts_error *err);

/* Lines of a text file, without blanks around them, empty ones and those that begin with '#'; class names or templates. Owned by
 * the caller (ts_text_lines_free). Returns their number, or -1: there is none, or the file is no text. */
int ts_text_lines(const char *path, char ***lines, ts_error *err);
void ts_text_lines_free(char **lines, int count);

#ifdef __cplusplus
}
#endif
#endif
