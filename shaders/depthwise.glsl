// depthwise.glsl - what the shaders of a depthwise convolution share (engine/op/depthwise.c): its sizes, at the end of their push constants. Images
// are (images, height, width, channels), channels in units; `count` units of what is written.
struct Sizes {
    uint count, height, width, channels, out_height, out_width, kernel_h, kernel_w, stride;
    int top, left;
    uint act; // ts_act
};
