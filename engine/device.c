/* device.c - which devices there are, and opening one by name. */
#include "engine/internal.h"
#include "engine/number.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int ts_device_list(ts_device_info **list, ts_error *err)
{
    int count = 0;
    *list = NULL;
#ifdef TESSERA_VULKAN
    count = ts_vk_device_list(list, err);
    if (count < 0) return -1;
#endif
    ts_device_info *grown = realloc(*list, (size_t)(count + 1) * sizeof **list);
    if (!grown) {
        free(*list);
        *list = NULL;
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return -1;
    }
    ts_host_device_info(&grown[count]);
    *list = grown;
    return count + 1;
}

/* How much "auto" wants a device; zero: never without being named. */
static int rank(const ts_device_info *info)
{
    if (!info->usable) return 0;
    if (info->kind == TS_DEVICE_HOST) return 1;
    if (strcmp(info->type, "virtual") == 0) return 2;
    if (strcmp(info->type, "integrated") == 0) return 3;
    if (strcmp(info->type, "discrete") == 0) return 4;
    return 0;
}

/* The entry that `name` means, or -1. */
static int choose(const ts_device_info *list, int count, const char *name, ts_error *err)
{
    int best = -1;
    if (strcmp(name, "auto") == 0) {
        for (int i = 0; i < count; i++)
            if (rank(&list[i]) > 0 && (best < 0 || rank(&list[i]) > rank(&list[best]))) best = i;
        return best;
    }
    if (strcmp(name, "cpu") == 0 || strcmp(name, "host") == 0) return count - 1;
    if (count == 1) {
        ts_fail(err, TS_ERR_DEVICE, "device %s: no Vulkan driver was found; install the one of your GPU, or use --device cpu",
                name);
        return -1;
    }
    if (strcmp(name, "vulkan") == 0) {
        /* A driver that runs on the CPU is good enough when asked for in so many words, but a GPU comes first. */
        for (int i = 0; i + 1 < count; i++)
            if (list[i].usable && (best < 0 || rank(&list[i]) > rank(&list[best]))) best = i;
        if (best < 0)
            ts_fail(err, TS_ERR_DEVICE, "device vulkan: none of the %d Vulkan devices can be used (%s: %s)", count - 1,
                    list[0].name, list[0].why);
        return best;
    }
    if (strncmp(name, "vulkan:", 7) == 0) {
        int n;
        if (ts_int_read(name + 7, 0, count - 2, &n)) return n;
        ts_fail(err, TS_ERR_DEVICE, "device %s does not exist: there %s %d Vulkan device%s, numbered from vulkan:0", name,
                count == 2 ? "is" : "are", count - 1, count == 2 ? "" : "s");
        return -1;
    }
    for (int i = 0; i < count; i++)
        if (strcasestr(list[i].name, name)) return i;
    ts_fail(err, TS_ERR_DEVICE,
            "device %s does not exist: use auto, cpu, vulkan, vulkan:N or part of a name that `tessera devices` lists", name);
    return -1;
}

ts_device *ts_device_open(const ts_device_desc *desc, ts_error *err)
{
    const char *name = desc->name && desc->name[0] ? desc->name : "auto";
    ts_device_info *list = NULL;
    int count = ts_device_list(&list, err);
    if (count < 0) return NULL;
    int at = choose(list, count, name, err);
    ts_device *dev = NULL;
    if (at < 0) {
        ts_fail(err, TS_ERR_DEVICE, "device %s: none can be used", name);
    } else if (!list[at].usable) {
        ts_fail(err, TS_ERR_DEVICE, "device %s (%s) cannot be used: %s", name, list[at].name, list[at].why);
    } else if (list[at].kind == TS_DEVICE_HOST) {
        dev = ts_host_device_open(desc, err);
    } else {
#ifdef TESSERA_VULKAN
        dev = ts_vk_device_open(desc, list[at].index, err);
#endif
    }
    free(list);
    return dev;
}

void ts_device_free(ts_device *dev)
{
    if (!dev) return;
    dev->backend->device_free(dev);
    free(dev);
}

const ts_device_info *ts_device_about(const ts_device *dev)
{
    return &dev->info;
}

ts_precision ts_device_precision(const ts_device *dev)
{
    return dev->precision;
}

int ts_device_validation(const ts_device *dev, const char **first)
{
    if (first) *first = NULL;
    return dev->backend->validation ? dev->backend->validation(dev, first) : 0;
}
