/* test_train.c - training runs from the command line, as small as can be: what is in the folder, that a run which was stopped,
 * killed or out of disk goes on to the same bits, and what is refused. */
#include "../support/process.h"
#include "../support/program.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STEPS = 12, MAX_WORDS = 60 };

/* A masked autoencoder on canvases of 64 pixels, with the random model's VQGAN; `more` and NULL end the list. */
static int mae_args(const char **args, const char *out, const char *const *more)
{
    const char *const words[] = {"train",        "mae",    "--data",         "figures:", "--vqgan",      random_model(),
                                 "--encoder",    "32x1x4", "--decoder",      "32x1x4",   "--canvas",     "64",
                                 "--batch",      "2",      "--steps",        "12",       "--save-every", "3",
                                 "--eval-every", "4",      "--eval-batches", "1",        "--lr",         "1e-3",
                                 "--seed",       "5",      "--device",       "cpu",      "--threads",    "1",
                                 "--out",        out};
    int n = sizeof words / sizeof *words;
    memcpy(args, words, sizeof words);
    for (; more && *more; more++) args[n++] = *more;
    args[n] = NULL;
    return n;
}

static program_result train_mae(const char *out, const char *const *more)
{
    const char *args[MAX_WORDS];
    int n = mae_args(args, out, more);
    return program_run_list(args, n);
}

static program_result resume(const char *out)
{
    return program_run("train", "mae", "--out", out, "--resume", NULL);
}

static bool same(const char *a, const char *b, const char *name)
{
    char path[2][900];
    snprintf(path[0], sizeof path[0], "%s/%s", a, name);
    snprintf(path[1], sizeof path[1], "%s/%s", b, name);
    return file_exists(path[0]) && file_exists(path[1]) && same_bytes(path[0], path[1]);
}

/* The first that differs of all that a run leaves and that holds no times; NULL: none. */
static const char *differing(const char *a, const char *b)
{
    static const char *const files[] = {"model.safetensors", "best.safetensors", "checkpoint-00000012.safetensors",
                                        "step-00000008.png", "step-00000012.png"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (!same(a, b, files[i])) return files[i];
    return NULL;
}

static void assert_same_run(const char *a, const char *b)
{
    const char *file = differing(a, b);
    if (file) fail_msg("%s of %s and of %s differ", file, a, b);
}

/* The run that was never stopped, made once. */
static const char *whole_run(double *seconds)
{
    static char path[512];
    static double took;
    if (!path[0]) {
        snprintf(path, sizeof path, "%s", temp_path("whole"));
        struct timespec a, b;
        clock_gettime(CLOCK_MONOTONIC, &a);
        succeed(train_mae(path, NULL));
        clock_gettime(CLOCK_MONOTONIC, &b);
        took = (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
    }
    if (seconds) *seconds = took;
    return path;
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void folder(void **state)
{
    (void)state;
    const char *out = whole_run(NULL);
    char path[600];
    static const char *const files[] = {
        "config.json",       "log.jsonl",         "log.csv",         "loss.png", "checkpoint-00000008.safetensors",
        "step-00000004.png", "step-00000012.png", "best.safetensors"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", out, files[i]);
        if (!file_exists(path)) fail_msg("%s is missing", path);
    }
    snprintf(path, sizeof path, "%s/checkpoint-00000006.safetensors", out);
    assert_false(file_exists(path)); /* 8, 9 and 12 are the last three */
    size_t size;
    snprintf(path, sizeof path, "%s/config.json", out);
    char *config = (char *)read_bytes(path, &size);
    cJSON *said = cJSON_Parse(config);
    assert_true(cJSON_GetNumberValue(cJSON_GetObjectItem(said, "cell_share")) == 0); /* as published: at random alone */
    assert_true(cJSON_GetNumberValue(cJSON_GetObjectItem(said, "mask")) == 0.75);
    cJSON_Delete(said);
    free(config);
    snprintf(path, sizeof path, "%s/log.jsonl", out);
    char *log = (char *)read_bytes(path, &size), *rest = log;
    int steps = 0, validations = 0;
    for (char *line; (line = strsep(&rest, "\n")) && *line;) {
        cJSON *o = cJSON_Parse(line);
        if (cJSON_HasObjectItem(o, "validation_loss")) validations++;
        else assert_int_equal(cJSON_GetObjectItem(o, "step")->valueint, ++steps);
        const char *const keys[] = {"loss", "accuracy", "lr", "images_per_s", "waiting"};
        for (int i = 0; i < 5 && !cJSON_HasObjectItem(o, "validation_loss"); i++)
            assert_true(cJSON_IsNumber(cJSON_GetObjectItem(o, keys[i])));
        cJSON_Delete(o);
    }
    assert_int_equal(steps, STEPS);
    assert_int_equal(validations, 3);
    free(log);
    /* The one file is all that `run` needs. */
    snprintf(path, sizeof path, "%s/model.safetensors", out);
    write_picture(temp_path("picture.png"), 31, 31, 1);
    const char *picture = temp_path("picture.png");
    succeed(program_run("run", "--device", "cpu", "--model", path, "-e", picture, picture, "-q", picture, "-o",
                        temp_path("answer.png"), NULL));
    succeed(program_run("model", "check", path, NULL));
}

static void stopped(void **state)
{
    (void)state;
    double seconds;
    const char *whole = whole_run(&seconds), *out = temp_path("stopped"), *args[MAX_WORDS];
    mae_args(args, out, NULL);
    pid_t pid = spawn(args, 0);
    /* In the middle: as soon as the first checkpoint is there. */
    const char *first = temp_path("stopped/checkpoint-00000003.safetensors");
    for (int i = 0; i < 3000 && !file_exists(first); i++) sleep_for(0.005);
    kill(pid, SIGINT);
    assert_int_equal(wait_for(pid), 128 + SIGINT);
    succeed(resume(out));
    assert_same_run(whole, out);
    /* Complete: resuming changes nothing. */
    succeed(resume(out));
    assert_same_run(whole, out);
}

/* A step of three batches, stopped and resumed; and a configuration as versions wrote it that knew no such steps. */
static void accumulated(void **state)
{
    (void)state;
    const char *whole = temp_path("parts"), *out = temp_path("parts_stopped"), *args[MAX_WORDS];
    const char *const more[] = {"--accumulate", "3", "--batch", "1", NULL};
    succeed(train_mae(whole, more));
    mae_args(args, out, more);
    pid_t pid = spawn(args, 0);
    const char *first = temp_path("parts_stopped/checkpoint-00000003.safetensors");
    for (int i = 0; i < 3000 && !file_exists(first); i++) sleep_for(0.005);
    kill(pid, SIGINT);
    assert_int_equal(wait_for(pid), 128 + SIGINT);
    succeed(resume(out));
    assert_same_run(whole, out);
    out = temp_path("earlier");
    succeed(train_mae(out, (const char *const[]){"--steps", "1", NULL}));
    size_t size;
    char *text = (char *)read_bytes(temp_path("earlier/config.json"), &size);
    cJSON *config = cJSON_Parse(text);
    assert_int_equal(cJSON_GetObjectItem(config, "accumulate")->valueint, 1);
    cJSON_DeleteItemFromObject(config, "accumulate");
    char *shorter = cJSON_Print(config);
    write_text(temp_path("earlier/config.json"), shorter);
    succeed(resume(out));
    cJSON_free(shorter);
    cJSON_Delete(config);
    free(text);
}

/* In fp16 with all that saves memory: the same bits after a stop, and the scale of the loss in the log. */
static void in_fp16(void **state)
{
    (void)state;
    if (!test_vulkan(TS_F16)) skip();
    const char *out = temp_path("fp16_run"), *name = getenv("TESSERA_TEST_DEVICE");
    const char *const more[] = {"--device", name ? name : "vulkan", "--precision", "fp16",   "--recompute", "--accumulate",
                                "2",        "--eval-every",         "6",           "--keep", "9",           NULL};
    succeed(train_mae(out, more));
    size_t size;
    char *log = (char *)read_bytes(temp_path("fp16_run/log.jsonl"), &size);
    assert_non_null(strstr(log, "\"loss_scale\":32768"));
    free(log);
    unsigned char *model = read_bytes(temp_path("fp16_run/model.safetensors"), &size);
    unlink(temp_path("fp16_run/checkpoint-00000012.safetensors"));
    unlink(temp_path("fp16_run/model.safetensors"));
    succeed(resume(out));
    size_t again;
    unsigned char *resumed = read_bytes(temp_path("fp16_run/model.safetensors"), &again);
    assert_true(size == again && memcmp(model, resumed, size) == 0);
    free(model);
    free(resumed);
    assert_refused(train_mae(temp_path("fp16_host"), (const char *const[]){"--precision", "fp16", NULL}), 1, "fp16 is for GPUs");
}

static void assert_no_leftovers(const char *out)
{
    DIR *dir = opendir(out);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) assert_null(strstr(entry->d_name, ".tmp"));
    closedir(dir);
}

/* Killed at random moments, a run comes to what it would have; where it is complete, another begins. */
static void killed(void **state)
{
    (void)state;
    double seconds;
    const char *whole = whole_run(&seconds), *args[MAX_WORDS], *times = getenv("TS_TEST_KILLS");
    char out[600], config[700];
    uint64_t seed = 11;
    int left = times ? atoi(times) : 4, runs = 0;
    for (bool complete = true; left > 0 || !complete;) {
        if (complete) snprintf(out, sizeof out, "%s", temp_path("killed%d", runs++));
        snprintf(config, sizeof config, "%s/config.json", out);
        mae_args(args, out, NULL);
        const char *const again[] = {"train", "mae", "--out", out, "--resume", NULL};
        const pid_t pid = spawn(file_exists(config) ? again : args, 0);
        if (left > 0) {
            sleep_for(0.6 * seconds * test_uniform(&seed));
            kill(pid, SIGKILL);
        }
        const int status = wait_for(pid); /* -1: in time */
        complete = status == 0;
        left -= status == -1;
        if (status > 0) fail_msg("a run that goes on ends with status %d", status);
        if (!complete) continue;
        assert_same_run(whole, out);
        assert_no_leftovers(out);
    }
}

static void full_disk(void **state)
{
    (void)state;
    const char *whole = whole_run(NULL), *out = temp_path("full"), *args[MAX_WORDS], *err_path = temp_path("spawned.err");
    mae_args(args, out, NULL);
    pid_t pid = spawn(args, 0);
    const char *first = temp_path("full/checkpoint-00000003.safetensors");
    for (int i = 0; i < 3000 && !file_exists(first); i++) sleep_for(0.005);
    kill(pid, SIGKILL);
    wait_for(pid);
    size_t before, after;
    unsigned char *kept = read_bytes(first, &before);
    const char *const again[] = {"train", "mae", "--out", out, "--resume", "--save-every", "3", NULL};
    pid = spawn(again, 64 << 10); /* enough for the log, not for a checkpoint */
    assert_int_equal(wait_for(pid), 1);
    char *said = (char *)read_bytes(err_path, &after);
    if (!strstr(said, "cannot be written") && !strstr(said, "cannot write")) fail_msg("%s", said);
    assert_non_null(strstr(said, "last good checkpoint"));
    free(said);
    unsigned char *now = read_bytes(first, &after);
    assert_true(before == after && memcmp(kept, now, before) == 0);
    free(kept);
    free(now);
    succeed(resume(out));
    assert_same_run(whole, out);
}

/* ---- a disk that is really full: a small one of our own, where the system lets us have it ---- */

enum { NO_DISK = 77 };

static bool write_map(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    const bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0) close(fd);
    return ok;
}

/* A view of the file system that is this process's own, as root or in a user namespace. */
static bool own_mounts(void)
{
    char map[64];
    snprintf(map, sizeof map, "0 %u 1", (unsigned)getuid());
    if (unshare(CLONE_NEWNS) != 0 && (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 || !write_map("/proc/self/setgroups", "deny") ||
                                      !write_map("/proc/self/uid_map", map)))
        return false;
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

/* In a process of its own: trains until the disk of so many bytes is full, gets more room, and goes on. The exit status: 0 where
 * all is as it should be and the files equal those of the whole run, 77 where there can be no such disk. */
static int fill_a_disk(const char *whole, const char *disk, uint64_t bytes)
{
    char size[64], out[600], model[900];
    const char *args[MAX_WORDS];
    snprintf(size, sizeof size, "size=%llu", (unsigned long long)bytes);
    snprintf(out, sizeof out, "%s/run", disk);
    if (!own_mounts() || mount("tmpfs", disk, "tmpfs", 0, size) != 0) return NO_DISK;
    mae_args(args, out, (const char *const[]){"--keep", "99", NULL});
    pid_t pid = spawn(args, 0);
    int state, count = 0;
    if (waitpid(pid, &state, 0) != pid || !WIFEXITED(state) || WEXITSTATUS(state) != 1) return 1;
    DIR *dir = opendir(out);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        snprintf(model, sizeof model, "%s/%.255s", out, entry->d_name);
        if (strstr(entry->d_name, ".tmp")) return 2;
        if (!strstr(entry->d_name, ".safetensors")) continue;
        ts_weights *w = ts_weights_open(model, NULL); /* whole, each of them */
        if (!w) return 3;
        ts_weights_free(w);
        count++;
    }
    if (dir) closedir(dir);
    if (count == 0) return 4;
    if (mount(NULL, disk, NULL, MS_REMOUNT, "size=1g") != 0) return NO_DISK;
    const char *const again[] = {"train", "mae", "--out", out, "--resume", NULL};
    pid = spawn(again, 0);
    if (waitpid(pid, &state, 0) != pid || state != 0) return 5;
    return differing(whole, out) ? 6 : 0;
}

static void small_disk(void **state)
{
    (void)state;
    const char *whole = whole_run(NULL), *disk = temp_path("disk");
    char path[600];
    struct stat checkpoint, best;
    snprintf(path, sizeof path, "%s/checkpoint-00000012.safetensors", whole);
    assert_int_equal(stat(path, &checkpoint), 0);
    snprintf(path, sizeof path, "%s/best.safetensors", whole);
    assert_int_equal(stat(path, &best), 0);
    assert_int_equal(mkdir(disk, 0700), 0);
    /* Full in the middle of a checkpoint, and of the best model. */
    const uint64_t sizes[] = {(uint64_t)checkpoint.st_size * 3 / 2,
                              (uint64_t)checkpoint.st_size * 2 + (uint64_t)best.st_size / 2};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) _exit(fill_a_disk(whole, disk, sizes[i]));
        const int status = wait_for(pid);
        if (status == NO_DISK) skip();
        assert_int_equal(status, 0);
    }
}

static void gone_wrong(void **state)
{
    (void)state;
    const char *out = temp_path("wrong");
    program_result r = train_mae(out, (const char *const[]){"--lr", "1000", "--weight-decay", "10", "--steps", "200",
                                                            "--save-every", "1", "--eval-every", "200", "--warmup", "0", NULL});
    assert_int_equal(r.status, 1);
    char *named = strstr(r.err, "the last good checkpoint is ");
    assert_non_null(named);
    named += strlen("the last good checkpoint is ");
    named[strcspn(named, "\n")] = '\0';
    ts_error err = {0};
    ts_weights *w = ts_weights_open(named, &err);
    if (!w) fail_msg("%s", err.text);
    for (int64_t i = 0; i < ts_weights_count(w); i++) {
        const ts_weight *t = ts_weights_at(w, i);
        float *values = golden_f32(w, t->name);
        for (int64_t k = 0; k < t->count; k++) assert_true(isfinite(values[k]));
        free(values);
    }
    ts_weights_free(w);
    program_free(&r);
}

static void vqgan_of_a_folder(void **state)
{
    (void)state;
    assert_int_equal(mkdir(temp_path("photos"), 0700), 0);
    for (int i = 0; i < 4; i++) write_picture(temp_path("photos/%d.jpg", i), 60, 50, (uint64_t)i);
    write_text(temp_path("photos/broken.png"), "x");
    const char *out = temp_path("vqgan");
    program_result r =
        program_run("train", "vqgan", "--data", temp_path("photos"), "--out", out, "--widths", "8,16", "--groups", "4",
                    "--latent", "8", "--codes", "16", "--canvas", "16", "--batch", "2", "--epochs", "2", "--lr", "1e-3",
                    "--save-every", "2", "--revive", "2", "--device", "cpu", "--threads", "1", "--json", NULL);
    if (r.status != 3) fail_msg("%s", r.err);
    const char *complaint = strstr(r.err, "broken.png");
    assert_non_null(complaint);
    assert_null(strstr(complaint + 1, "broken.png"));
    cJSON *o = cJSON_Parse(r.out);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(o, "complete")));
    assert_int_equal(cJSON_GetObjectItem(o, "steps")->valueint, 5);
    cJSON_Delete(o);
    program_free(&r);
    /* Other pictures are told of, once. */
    unlink(temp_path("photos/3.jpg"));
    for (int i = 0; i < 2; i++) {
        r = program_run("train", "vqgan", "--out", temp_path("vqgan"), "--resume", "--steps", i ? "7" : "6", NULL);
        assert_int_equal(r.status, 3); /* broken.png is still there */
        if ((strstr(r.err, "have changed: 5 files") != NULL) != (i == 0)) fail_msg("%s", r.err);
        program_free(&r);
    }
    /* It labels a masked autoencoder of other patches, which then starts another. */
    const char *labels = temp_path("vqgan/best.safetensors"), *mae = temp_path("fp16"), *second = temp_path("second");
    succeed(train_mae(mae, (const char *const[]){"--vqgan", labels, "--steps", "2", "--fp16", NULL}));
    ts_error err = {0};
    ts_weights *w = ts_weights_open(temp_path("fp16/model.safetensors"), &err);
    if (!w) fail_msg("%s", err.text);
    assert_int_equal(ts_weights_find(w, "blocks.0.attn.qkv.weight")->dtype, TS_DT_F16);
    assert_non_null(ts_weights_find(w, "vae.decoder.conv_out.weight"));
    assert_null(ts_weights_find(w, "vae.optimizer.m.decoder.conv_out.weight"));
    ts_weights_free(w);
    const char *from = temp_path("fp16/model.safetensors");
    succeed(program_run("train", "mae", "--data", "figures:copy", "--init", from, "--out", second, "--steps", "1", "--batch", "2",
                        "--mask", "0.25", "--cell-share", "1", "--eval-batches", "1", "--device", "cpu", NULL));
}

static int vqgan_args(const char **args, const char *out)
{
    const char *const words[] = {"train",
                                 "vqgan",
                                 "--data",
                                 "figures:",
                                 "--out",
                                 out,
                                 "--widths",
                                 "8,16",
                                 "--groups",
                                 "4",
                                 "--latent",
                                 "8",
                                 "--codes",
                                 "16",
                                 "--canvas",
                                 "32",
                                 "--batch",
                                 "2",
                                 "--steps",
                                 "6",
                                 "--save-every",
                                 "1",
                                 "--keep",
                                 "2",
                                 "--eval-batches",
                                 "1",
                                 "--lr",
                                 "1e-3",
                                 "--device",
                                 "cpu",
                                 "--threads",
                                 "1",
                                 "--discriminator-start",
                                 "2",
                                 "--discriminator-width",
                                 "4"};
    const int n = sizeof words / sizeof *words;
    memcpy(args, words, sizeof words);
    args[n] = NULL;
    return n;
}

/* How many lines of the folder's log have the field. */
static int logged(const char *out, const char *field)
{
    char path[600];
    size_t size;
    int lines = 0;
    snprintf(path, sizeof path, "%s/log.jsonl", out);
    unsigned char *bytes = read_bytes(path, &size);
    char *text = strndup((const char *)bytes, size);
    for (const char *at = text; (at = strstr(at, field)); at++) lines++;
    free(text);
    free(bytes);
    return lines;
}

/* It joins in after two steps; killed after the fourth, the run goes on to the same bits. */
static void against_a_discriminator(void **state)
{
    (void)state;
    const char *args[MAX_WORDS];
    char whole[512], killed_run[512], fourth[600];
    snprintf(whole, sizeof whole, "%s", temp_path("opposed"));
    snprintf(killed_run, sizeof killed_run, "%s", temp_path("opposed_killed"));
    snprintf(fourth, sizeof fourth, "%s/checkpoint-00000004.safetensors", killed_run);
    succeed(program_run_list(args, vqgan_args(args, whole)));
    assert_int_equal(logged(whole, "\"codebook\""), 6);
    assert_int_equal(logged(whole, "\"generator\""), 4);
    assert_int_equal(logged(whole, "\"discriminator\""), 4);
    assert_int_equal(logged(whole, "\"adaptive_weight\""), 4);
    vqgan_args(args, killed_run);
    const pid_t pid = spawn(args, 0);
    for (int i = 0; i < 6000 && !file_exists(fourth); i++) sleep_for(0.005);
    kill(pid, SIGKILL);
    wait_for(pid);
    succeed(program_run("train", "vqgan", "--out", killed_run, "--resume", NULL));
    assert_same(whole, killed_run, "checkpoint-00000006.safetensors");
    assert_same(whole, killed_run, "model.safetensors");
    ts_error err = {0};
    ts_weights *model = ts_weights_open(temp_path("opposed/model.safetensors"), &err);
    if (!model) fail_msg("%s", err.text);
    assert_null(ts_weights_find(model, "loss.discriminator.main.0.weight")); /* of no use but to a training */
    ts_weights_free(model);
}

/* The weights of LPIPS are a run's own: it goes on with them. */
static void with_lpips(void **state)
{
    (void)state;
    const char *args[MAX_WORDS], *out = temp_path("lpips");
    const int n = vqgan_args(args, out) - 4; /* without a discriminator */
    args[n] = "--lpips";
    args[n + 1] = TS_TESTS_DIR "/golden/vqgan_lpips.safetensors";
    succeed(program_run_list(args, n + 2));
    assert_int_equal(logged(out, "\"perceptual\""), 6);
    assert_int_equal(logged(out, "\"generator\""), 0);
    succeed(program_run("train", "vqgan", "--out", out, "--resume", "--steps", "7", NULL));
    assert_int_equal(logged(out, "\"perceptual\""), 7);
}

/* ---- signals, and one run in one folder --------------------------------------------------------------------------- */

/* A training that will not end by itself, once it has a checkpoint. */
static pid_t endless(const char *out)
{
    const char *args[MAX_WORDS];
    char first[700];
    mae_args(args, out, (const char *const[]){"--steps", "1000000", "--eval-every", "1000000", NULL});
    snprintf(first, sizeof first, "%s/checkpoint-00000003.safetensors", out);
    const pid_t pid = spawn(args, 0);
    for (int i = 0; i < 6000 && !file_exists(first); i++) sleep_for(0.005);
    return pid;
}

static int64_t last_step(const char *out)
{
    int64_t last = 0;
    DIR *dir = opendir(out);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        const int64_t step = strncmp(entry->d_name, "checkpoint-", 11) == 0 ? strtoll(entry->d_name + 11, NULL, 10) : 0;
        if (step > last) last = step;
    }
    closedir(dir);
    return last;
}

/* Each ends it with a checkpoint of its last step, without a model, and with a status that names it. */
static void ended_by_signals(void **state)
{
    (void)state;
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGXCPU};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        char path[700];
        const char *out = temp_path("signal%d", signals[i]);
        const pid_t pid = endless(out);
        kill(pid, signals[i]);
        if (signals[i] != SIGINT) kill(pid, signals[i]); /* as from a terminal that closes, or from `timeout` */
        assert_int_equal(wait_for(pid), 128 + signals[i]);
        size_t size;
        char *said = (char *)read_bytes(temp_path("spawned.err"), &size);
        assert_non_null(strstr(said, "finishing this step"));
        assert_non_null(strstr(said, "--resume goes on"));
        free(said);
        snprintf(path, sizeof path, "%s/model.safetensors", out);
        assert_false(file_exists(path));
        assert_int_equal(logged(out, "\"loss\""), last_step(out));
    }
}

/* A second Ctrl-C ends it, but not one that comes with the first. */
static void impatient(void **state)
{
    (void)state;
    const char *out = kept_path("impatient");
    const pid_t pid = endless(out);
    kill(pid, SIGSTOP); /* so that both wait for it */
    kill(pid, SIGINT);
    kill(pid, SIGCONT);
    kill(pid, SIGINT);
    assert_int_equal(wait_for(pid), 128 + SIGINT);
}

static void one_folder(void **state)
{
    (void)state;
    const char *out = kept_path("shared"), *args[MAX_WORDS];
    /* At the same moment: one of them trains, the other is refused, and says so. */
    mae_args(args, out, NULL);
    const pid_t a = spawn(args, 0), b = spawn(args, 0);
    const int x = wait_for(a), y = wait_for(b);
    if (!((x == 0 && y > 0) || (y == 0 && x > 0))) fail_msg("two trainings in one folder end with %d and %d", x, y);
    assert_same_run(whole_run(NULL), out);
    assert_int_equal(logged(out, "\"loss\""), STEPS);
    assert_false(file_exists(kept_path("shared/.lock")));
    /* One that is at work is left alone, a dead one leaves no lock. */
    out = kept_path("owned");
    const pid_t pid = endless(out);
    assert_refused(train_mae(out, NULL), 1, "in use by another training (process");
    assert_refused(resume(out), 1, "in use by another training (process");
    kill(pid, SIGKILL);
    wait_for(pid);
    assert_true(file_exists(kept_path("owned/.lock")));
    succeed(
        program_run("train", "mae", "--out", out, "--resume", "--steps", "1000", "--save-every", "1000", "--epochs", "1", NULL));
}

/* ---- what a run that goes on keeps -------------------------------------------------------------------------------- */

static void kept_as_begun(void **state)
{
    (void)state;
    const char *whole = whole_run(NULL), *none = kept_path("no_run");
    assert_refused(program_run("train", "mae", "--out", whole, "--resume", "--canvas", "128", NULL), 2, "canvases of 64");
    assert_refused(program_run("train", "mae", "--out", whole, "--resume", "--init", random_model(), NULL), 2, "--init");
    assert_refused(program_run("train", "mae", "--out", whole, "--resume", "--decoder", "32x2x4", NULL), 2, "sizes");
    assert_refused(program_run("train", "mae", "--out", whole, "--resume", "--steps", "11", "-Q", NULL), 1, "12 that the run");
    assert_refused(program_run("train", "mae", "--out", none, "--resume", NULL), 2, "holds no run");
    assert_refused(program_run("train", "vqgan", "--out", none, "--resume", NULL), 2, "holds no run");
    assert_false(file_exists(none));
    assert_int_equal(mkdir(none, 0700), 0);
    assert_refused(program_run("train", "mae", "--out", none, "--resume", NULL), 2, "holds no run");
    assert_refused(program_run("train", "mae", "--out", none, NULL), 2, "--data");
    assert_int_equal(rmdir(none), 0); /* nothing was left in it */
    /* All that it was begun with may be said again. */
    succeed(train_mae(whole, (const char *const[]){"--resume", NULL}));
}

/* The table agrees with the log, also when the run went on from before their ends. */
static void table(void **state)
{
    (void)state;
    const char *out = temp_path("table");
    size_t size;
    succeed(train_mae(out, (const char *const[]){"--steps", "5", NULL}));
    write_text(temp_path("table/log.csv"), "rubbish");
    FILE *log = fopen(temp_path("table/log.jsonl"), "a");
    assert_non_null(log);
    /* A step that no integer holds, lines that are none, a step beyond the checkpoint, a line cut short. */
    static const char more[] = "{\"step\":2e60,\"loss\":1}\n{\"step\":3}\0x\n{\"step\":4} x\n[1]\n"
                               "{\"step\":4,\"validation_loss\":\"low\"}\n{\"step\":9,\"loss\":1}\n{\"st";
    fwrite(more, 1, sizeof more - 1, log);
    assert_int_equal(fclose(log), 0);
    succeed(program_run("train", "mae", "--out", out, "--resume", "--steps", "6", NULL));
    assert_int_equal(logged(out, "\"loss\""), 6);
    char *text = (char *)read_bytes(temp_path("table/log.csv"), &size), *rest = text;
    int rows = 0, validations = 0, columns = 1;
    const char *heads = strsep(&rest, "\n");
    assert_memory_equal(heads, "step,loss,accuracy,", 19);
    for (const char *c = heads; *c; c++) columns += *c == ',';
    for (const char *line; (line = strsep(&rest, "\n")) && *line; rows++) {
        int cells = 1;
        for (const char *c = line; *c; c++) cells += *c == ',';
        assert_int_equal(cells, columns);
        validations += strstr(line, ",,,") == strchr(line, ',');
    }
    assert_int_equal(rows, 9); /* 6 steps, validated after 4, 5 and 6 */
    assert_int_equal(validations, 3);
    free(text);
}

static void refused(void **state)
{
    (void)state;
    const char *out = temp_path("refused"), *model = random_model();
    assert_refused(program_run("train", NULL), 2, "vqgan or mae");
    assert_refused(program_run("train", "mae", NULL), 2, "--out DIR");
    assert_refused(program_run("train", "mae", "--out", out, NULL), 2, "--data");
    assert_refused(program_run("train", "mae", "--out", out, "--data", "figures:", NULL), 2, "--steps");
    assert_refused(program_run("train", "mae", "--out", out, "--data", "figures:", "--steps", "1", NULL), 2, "--vqgan");
    assert_refused(program_run("train", "vqgan", "--out", out, "--data", "figures:", "--steps", "1", "--decoder-only", NULL), 2,
                   "--init");
    assert_refused(program_run("train", "mae", "--out", out, "--data", "figures:", "--steps", "1", "--vqgan", model, "--encoder",
                               "30x1x4", NULL),
                   2, "30x1x4");
    assert_refused(program_run("train", "mae", "--out", out, "--data", "/nonexistent", "--steps", "1", "--vqgan", model, NULL), 1,
                   "/nonexistent");
    assert_refused(
        program_run("train", "mae", "--out", out, "--data", "figures:", "--steps", "1", "--vqgan", "/nonexistent/v", NULL), 1,
        "/nonexistent/v");
    assert_refused(program_run("train", "mae", "--out", out, "--data", "figures:", "--epochs", "1", "--vqgan", model, "--encoder",
                               "32x1x4", "--decoder", "32x1x4", "--canvas", "64", "--device", "cpu", NULL),
                   1, "epochs");
    assert_refused(program_run("train", "vqgan", "--out", out, "--data", "figures:", "--steps", "1", "--widths", "30", NULL), 2,
                   "--widths");
    assert_refused(program_run("train", "vqgan", "--out", out, "--data", "figures:", "--steps", "1", "--canvas", "16",
                               "--discriminator-start", "0", NULL),
                   2, "24 or more");
    assert_refused(
        program_run("train", "vqgan", "--out", out, "--data", "figures:", "--steps", "1", "--lpips", "/nonexistent/l", NULL), 1,
        "/nonexistent/l");
    assert_refused(program_run("train", "vqgan", "--out", out, "--data", "figures:", "--steps", "1", "--lpips", model, NULL), 1,
                   "an LPIPS is wanted");
    assert_refused(program_run("train", "vqgan", "--out", out, "--data", "figures:", "--steps", "1", "--vgg", model, NULL), 2,
                   "--lpips");
    const char *whole = whole_run(NULL);
    assert_refused(train_mae(whole, NULL), 2, "--resume");
    assert_refused(program_run("train", "mae", "--out", whole, "--resume", "--preset", "base", NULL), 2, "sizes");
    assert_refused(program_run("train", "vqgan", "--out", whole, "--resume", NULL), 1, "train mae");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(folder),
                                       cmocka_unit_test(stopped),
                                       cmocka_unit_test(accumulated),
                                       cmocka_unit_test(in_fp16),
                                       cmocka_unit_test(killed),
                                       cmocka_unit_test(ended_by_signals),
                                       cmocka_unit_test(impatient),
                                       cmocka_unit_test(one_folder),
                                       cmocka_unit_test(kept_as_begun),
                                       cmocka_unit_test(table),
                                       cmocka_unit_test(full_disk),
                                       cmocka_unit_test(small_disk),
                                       cmocka_unit_test(gone_wrong),
                                       cmocka_unit_test(vqgan_of_a_folder),
                                       cmocka_unit_test(against_a_discriminator),
                                       cmocka_unit_test(with_lpips),
                                       cmocka_unit_test(refused),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("train", tests, NULL, NULL);
}
