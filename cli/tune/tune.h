/* tune.h - `tessera tune`: what is learned beside a frozen inpainting model. */
#ifndef TESSERA_CLI_TUNE_H
#define TESSERA_CLI_TUNE_H

int ts_tune_border(int argc, char **argv);
int ts_tune_fusion(int argc, char **argv);
int ts_tune_task(int argc, char **argv);
int ts_tune_retriever(int argc, char **argv);

#endif
