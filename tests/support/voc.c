/* voc.c - see voc.h. The numbers here are those of the script that made the golden file. */
#include "voc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "program.h"

static const int CLASSES[VOC_PICTURES][2] = {{1, 2}, {1, 2},  {1, 2},   {1, 6},   {6, 7},
                                             {6, 7}, {6, 11}, {11, 16}, {11, 16}, {16, 11}};
static const char *const NAMES[VOC_PICTURES] = {"dog", "cat", "dog", "cat", "dog", "cat", "cat", "dog", "dog", "dog"};
static const int PLAIN[VOC_PLAIN][2] = {{111, 111}, {112, 114}, {113, 112}, {114, 111}, {90, 150}, {150, 90},
                                        {80, 85},   {200, 120}, {115, 117}, {116, 250}, {97, 100}, {301, 113}};
static const char *const LISTS[2][4] = {
    {"p00__01\np00__02\np01__01\np02__02\np02__01\n", "p03__06\np04__06\np05__07\np04__07\np06__06\n",
     "p06__11\np07__11\np08__11\np09__11\n", "p07__16\np08__16\np09__16\n"},
    {"p03__01\np01__02\np02__02\np00__01\np01__01\n", "p06__06\np05__06\np04__07\np05__07\np03__06\n",
     "p09__11\np08__11\np06__11\n", "p09__16\np07__16\np08__16\n"}};

static int width_of(int k)
{
    return 130 + k * 37 % 80;
}

static int height_of(int k)
{
    return 120 + k * 53 % 70;
}

/* A PNG, whatever the name's ending says: nothing is lost. */
static void write_png(const char *path, const uint8_t *data, int width, int height, int channels)
{
    uint8_t *bytes;
    size_t size;
    ts_error err = {0};
    if (!ts_png_encode(path, data, width, height, channels, &bytes, &size, &err)) fail_msg("%s", err.text);
    write_bytes(path, bytes, size);
    free(bytes);
}

static void draw(const char *path, int k, int width, int height)
{
    uint8_t *data = malloc((size_t)width * (size_t)height * 3), *at = data;
    assert_non_null(data);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < 3; c++) *at++ = (uint8_t)(x * (3 + c) + y * (5 + 2 * k) + k * 37 + (x / 7 + y / 5) % 3 * 40 * c);
    write_png(path, data, width, height, 3);
    free(data);
}

static uint8_t number_at(int k, int x, int y)
{
    const int width = width_of(k), height = height_of(k), dx = x - width / 3, dy = y - height / 2, radius = height / 3;
    const int distance = dx * dx + dy * dy;
    if (x > 2 * width / 3 && y > height / 2) return (uint8_t)CLASSES[k][1];
    if (distance < radius * radius) return (uint8_t)CLASSES[k][0];
    return distance < (radius + 2) * (radius + 2) ? 255 : 0;
}

static void draw_numbers(const char *path, int k)
{
    const int width = width_of(k), height = height_of(k);
    uint8_t *data = malloc((size_t)width * (size_t)height), *at = data;
    assert_non_null(data);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) *at++ = number_at(k, x, y);
    write_png(path, data, width, height, 1);
    free(data);
}

static void annotate(const char *path, int k)
{
    static const char part[] =
        "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></part>";
    const int x0 = k == 9 ? 1 : 5 + 3 * k, y0 = k == 9 ? 1 : 7 + 2 * k;
    const double x1 = k == 9 ? width_of(k) : x0 + 20 + k % 4 * 11 + (k == 7 ? 0.5 : 0);
    const int y1 = k == 9 ? height_of(k) : y0 + 25 + k;
    char thing[1024], text[4096];
    snprintf(thing, sizeof thing,
             "<object>\n <name>%s</name><difficult>%d</difficult><bndbox><xmin>%d</xmin><ymin>%d</ymin><xmax>%g</xmax>"
             "<ymax>%d</ymax></bndbox>%s</object>",
             NAMES[k], k % 2, x0, y0, x1, y1, k == 8 ? part : "");
    snprintf(text, sizeof text,
             "<annotation><!-- drawn --><filename>p%02d.jpg</filename><size><width>%d</width><height>%d</height><depth>3</depth>"
             "</size>%s%s</annotation>\n",
             k, width_of(k), height_of(k), thing, k == 5 ? thing : "");
    write_text(path, text);
}

static const char *in(const char *root, const char *format, int number)
{
    static char path[1024];
    const int used = snprintf(path, sizeof path, "%s/", root);
    char name[128];
    snprintf(name, sizeof name, format, number);
    snprintf(path + used, sizeof path - (size_t)used, "%s", name);
    return path;
}

void voc_write(const char *root)
{
    static const char *const folders[] = {"",
                                          "JPEGImages",
                                          "SegmentationClassAug",
                                          "Annotations",
                                          "ImageSets",
                                          "ImageSets/Main",
                                          "splits",
                                          "splits/pascal",
                                          "splits/pascal/val",
                                          "splits/pascal/trn",
                                          "imagenet",
                                          "imagenet/val",
                                          "imagenet/val/n1",
                                          "imagenet/val/n1-b"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) mkdir(in(root, folders[i], 0), 0755);
    for (int k = 0; k < VOC_PICTURES; k++) {
        draw(in(root, "JPEGImages/p%02d.jpg", k), k, width_of(k), height_of(k));
        draw_numbers(in(root, "SegmentationClassAug/p%02d.png", k), k);
        annotate(in(root, "Annotations/p%02d.xml", k), k);
    }
    for (int f = 0; f < 4; f++) {
        write_text(in(root, "splits/pascal/val/fold%d.txt", f), LISTS[0][f]);
        write_text(in(root, "splits/pascal/trn/fold%d.txt", f), LISTS[1][f]);
    }
    write_text(in(root, "ImageSets/Main/train.txt", 0), "p00\np01\np02\np03\np04\np05\n");
    write_text(in(root, "ImageSets/Main/val.txt", 0), "p05\np06\np07\np08\np09\n");
    for (int k = 0; k < VOC_PLAIN; k++)
        draw(in(root, k % 2 ? "imagenet/val/n1/c%02d.JPEG" : "imagenet/val/n1-b/c%02d.JPEG", k), k, PLAIN[k][0], PLAIN[k][1]);
}

const char *voc_hash(const ts_image *picture, char out[17])
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < (size_t)picture->width * (size_t)picture->height * 3; i++) h = (h ^ picture->data[i]) * 0x100000001b3u;
    snprintf(out, 17, "%016llx", (unsigned long long)h);
    return out;
}
