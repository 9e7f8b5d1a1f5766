/* voc.h - a small data set in the folders of Pascal VOC and ImageNet, drawn pixel for pixel as
 * tests/reference/make_eval_golden.py draws it. */
#ifndef TESSERA_TEST_VOC_H
#define TESSERA_TEST_VOC_H

#include "support.h"

enum { VOC_PICTURES = 10, VOC_PLAIN = 12 };

/* JPEGImages, SegmentationClassAug, Annotations, ImageSets/Main, splits/pascal, and imagenet/val with two classes, in `root`,
 * which is made. */
void voc_write(const char *root);
/* FNV-1a of 64 bits over a picture's pixels, in hexadecimal digits. */
const char *voc_hash(const ts_image *picture, char out[17]);

#endif
