/* test_no_memory.c - an allocation of the program's own fails, now here and now there, in every command: it then ends with status
 * 1 and a sentence, with no output or the whole of it and no temporary file left, or it comes to what it comes to undisturbed.
 *
 * TESSERA_FAIL_POINTS=N tries N places of each command where the test tries a few. */
#include "../support/clip_library.h"
#include "../support/program.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef TS_NO_MEMORY

enum { MAX_WORDS = 48, POINTS = 9, PATIENCE_S = 60 };

/* What a run came to. */
typedef struct {
    int status; /* -1: a signal */
    char *out, *err;
    long allocations;
} outcome;

static int remove_entry(const char *path, const struct stat *s, int type, struct FTW *at)
{
    (void)s;
    (void)type;
    (void)at;
    return remove(path);
}

static void empty_folder(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    assert_int_equal(mkdir(path, 0700), 0);
}

static char *text_of(const char *name)
{
    size_t size;
    return (char *)read_bytes(temp_path("%s", name), &size);
}

/* Runs the command in the folder `work`, with allocation `at` failing (0: none). */
static outcome run(const char *const *words, long at)
{
    char *argv[MAX_WORDS] = {(char *)TS_PROGRAM}, number[24];
    for (int i = 0; words[i]; i++) argv[i + 1] = (char *)words[i];
    const char *log = temp_path("count"), *out = temp_path("oom.out"), *err = temp_path("oom.err"), *work = temp_path("work");
    snprintf(number, sizeof number, "%ld", at);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setenv("LD_PRELOAD", TS_NO_MEMORY, 1);
        setenv("TS_FAIL_AT", number, 1);
        setenv("TS_FAIL_LOG", log, 1);
        setenv("OMP_NUM_THREADS", "1", 1);
        alarm(PATIENCE_S); /* a hang is a signal */
        dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
        dup2(open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600), STDOUT_FILENO);
        dup2(open(err, O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO);
        if (chdir(work) == 0) execv(TS_PROGRAM, argv);
        _exit(127);
    }
    int state;
    assert_int_equal(waitpid(pid, &state, 0), pid);
    outcome o = {.status = WIFEXITED(state) ? WEXITSTATUS(state) : -1, .out = text_of("oom.out"), .err = text_of("oom.err")};
    if (file_exists(log)) {
        char *count = text_of("count");
        o.allocations = atol(count);
        free(count);
        unlink(log);
    }
    return o;
}

static void outcome_clear(outcome *o)
{
    free(o->out);
    free(o->err);
}

static bool half_written(const char *folder)
{
    bool found = false;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));) found = found || strstr(e->d_name, ".tmp") || strstr(e->d_name, ".tessera-");
    closedir(dir);
    return found;
}

/* `result`: the file that the command writes, below the folder it runs in; "": none. `fixed`: what it prints is the same each
 * time. */
static void try_command(const char *result, bool fixed, const char *const *words)
{
    const char *asked = getenv("TESSERA_FAIL_POINTS");
    const long points = asked ? atol(asked) : POINTS;
    char work[512], written[600], whole[512];
    snprintf(work, sizeof work, "%s", temp_path("work"));
    snprintf(written, sizeof written, "%s/%s", work, result);
    snprintf(whole, sizeof whole, "%s", temp_path("undisturbed"));
    empty_folder(work);
    outcome plain = run(words, 0);
    if (plain.status != 0 || plain.allocations == 0)
        fail_msg("%s %s: status %d: %s", words[0], words[1], plain.status, plain.err);
    if (*result) assert_int_equal(rename(written, whole), 0);
    for (long i = 0; i < points; i++) {
        /* The first ones, the last one, and some between. */
        const long at = points >= plain.allocations ? i + 1 : i < 2 ? i + 1 : plain.allocations * (i - 1) / (points - 2);
        if (at < 1 || at > plain.allocations) continue;
        empty_folder(work);
        outcome o = run(words, at);
        const bool there = *result && file_exists(written), same = there && same_bytes(written, whole);
        const char *wrong = NULL;
        if (o.status != 0 && o.status != 1) wrong = "ended otherwise";
        else if (o.status == 1 && (!strstr(o.err, "tessera") || !strchr(o.err, '\n'))) wrong = "failed without a sentence";
        else if (half_written(work)) wrong = "left a temporary file";
        else if (there && !same) wrong = "wrote something else";
        else if (o.status == 0 && *result && !there) wrong = "wrote nothing";
        else if (o.status == 0 && fixed && strcmp(o.out, plain.out) != 0) wrong = "printed something else";
        if (wrong)
            fail_msg("%s %s, allocation %ld of %ld: %s: status %d, \"%s\"", words[0], words[1], at, plain.allocations, wrong,
                     o.status, o.err);
        outcome_clear(&o);
    }
    outcome_clear(&plain);
    if (*result) unlink(whole);
}

#define TRY(result, fixed, ...) try_command(result, fixed, (const char *const[]){__VA_ARGS__, NULL})
#define CPU                     "--device", "cpu", "--threads", "1"

static const char *picture(void)
{
    static const char *path;
    if (!path) write_picture(path = kept_path("picture.png"), 40, 30, 1);
    return path;
}

static void pictures(void **state)
{
    (void)state;
    const char *p = picture(), *m = random_model();
    TRY("answer.png", true, "run", "--model", m, "-e", p, p, "-q", p, "-o", "answer.png", CPU);
    TRY("answer.jpg", false, "run", "--model", m, "-e", p, p, "-q", p, "-o", "answer.jpg", "--json", CPU);
    TRY("sheet.png", true, "sheet", "-o", "sheet.png", p, p);
    TRY("", true, "eval", "synthetic", "--model", m, "--trials", "1", "--examples", "1", CPU);
    TRY("page-000000.png", true, "figures", "--out", ".", "--count", "1", "--size", "64");
}

static void models(void **state)
{
    (void)state;
    const char *m = random_model();
    TRY("", true, "model", "info", m);
    TRY("", true, "model", "check", m, "--json");
    TRY("half.safetensors", true, "model", "convert", m, "half.safetensors", "--dtype", "fp16");
    TRY("", false, "devices", "--json");
    TRY("", false, "bench", "--quick", "--only", "clamp", CPU);
}

static void trainings(void **state)
{
    (void)state;
    TRY("out/model.safetensors", true, "train", "vqgan", "--data", "figures:", "--out", "out", "--widths", "8,16", "--groups",
        "4", "--latent", "8", "--codes", "16", "--canvas", "32", "--batch", "2", "--steps", "1", "--eval-batches", "1",
        "--workers", "1", CPU);
    TRY("out/model.safetensors", true, "train", "mae", "--data", "figures:", "--vqgan", random_model(), "--out", "out",
        "--encoder", "16x1x2", "--decoder", "16x1x2", "--canvas", "64", "--batch", "2", "--steps", "1", "--eval-batches", "1",
        "--workers", "1", CPU);
}

static const char *captions(void)
{
    static const char *folder;
    if (folder) return folder;
    folder = kept_path("scenes");
    succeed(program_run("figures", "--captions", folder, "--count", "6", "--size", "16", NULL));
    return folder;
}

static void clip(void **state)
{
    (void)state;
    need_model();
    const char *folder = make_folder("folder"), *p = picture();
#define WITH_MODEL "--model", MODEL, "--vocab", VOCAB, CPU
    TRY("", true, "clip", "classify", folder, "--classes", "cat,dog", WITH_MODEL);
    TRY("", true, "clip", "classify", p, "--classes", "cat,dog", "--top", "1", WITH_MODEL);
    TRY("f.safetensors", true, "clip", "embed", folder, "--out", "f.safetensors", WITH_MODEL);
    TRY("f.jsonl", true, "clip", "embed", "--text", "a cat", "--out", "f.jsonl", WITH_MODEL);
    TRY("", true, "clip", "search", folder, "--no-cache", "--text", "rain", WITH_MODEL);
    TRY("", true, "clip", "search", folder, "--like", p, WITH_MODEL);
}

static void clip_learns(void **state)
{
    (void)state;
    need_model();
    const char *data = make_empty_folder("data");
    for (int k = 0; k < 2; k++) {
        assert_int_equal(mkdir(temp_path("data/%c", 'a' + k), 0777), 0);
        for (int i = 0; i < 4; i++) write_picture(temp_path("data/%c/%d.png", 'a' + k, i), 20, 20, (uint64_t)(4 * k + i));
    }
    TRY("", true, "clip", "eval", "--data", data, WITH_MODEL);
    TRY("out/prompt.safetensors", true, "clip", "tune", "coop", "--data", data, "--out", "out", "--ctx", "2", "--epochs", "1",
        "--batch", "4", "--no-eval", "--workers", "1", WITH_MODEL);
    TRY("out/model.safetensors", true, "clip", "train", "--data", captions(), "--out", "out", "--image", "16", "--patch", "8",
        "--vision", "16x1x2", "--text", "12x1x3", "--embed", "8", "--steps", "1", "--batch", "3", "--merges", "8", "--workers",
        "1", CPU);
}

static void segments(void **state)
{
    (void)state;
    need_model();
    const char *p = picture();
#define WITH_SAM  "--model", TS_GOLDEN_DIR "/sam_tiny.pth", CPU
#define ALL_FOUND "--points-per-side", "3", "--pred-iou-thresh", "0", "--stability-score-thresh", "0"
    TRY("mask.png", true, "segment", p, "--box", "3,3,20,20", "-o", "mask.png", "--overlay", "look.png", WITH_SAM);
    TRY("kept.st", false, "segment", p, "--point", "3,3", "--prior", p, "--embedding", "./kept.st", "--json", WITH_SAM);
    TRY("all/metadata.csv", true, "segment", p, "--everything", ALL_FOUND, "-o", "all", "--cutout", "cut.png", WITH_SAM);
    TRY("mask.png", true, "segment", p, "--text", "a cat", ALL_FOUND, "-o", "mask.png", "--clip", MODEL, "--vocab", VOCAB,
        WITH_SAM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pictures), cmocka_unit_test(models),   cmocka_unit_test(trainings),
                                       cmocka_unit_test(clip),     cmocka_unit_test(segments), cmocka_unit_test(clip_learns)};
    return cmocka_run_group_tests_name("no memory", tests, NULL, NULL);
}

#else /* a build with sanitizers has allocators of its own */

int main(void)
{
    return 0;
}

#endif
