#!/usr/bin/python3
"""Writes tests/golden/sam_guided.safetensors: what PerSAM's hints (Zhang et al. 2023, arXiv 2305.03048, section 3.2) make of the
decoder of ../shared/golden/sam_tiny.pth, by a decoder of our own in PyTorch. Two prompts on the embedding of picture A, a point and
a box with a point, each with hints and without (which is compared with the published numbers here).

    tests/reference/make_sam_guide_golden.py [SHARED/golden]
"""
import json
import math
import os
import struct
import sys

import numpy as np
import torch
import torch.nn.functional as F

HEADS, S = 8, 128
here = os.path.dirname(os.path.abspath(__file__))
golden = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, '../../../shared/golden')
w = torch.load(os.path.join(golden, 'sam_tiny.pth'), map_location='cpu')


def read_safetensors(path):
    with open(path, 'rb') as f:
        header = json.loads(f.read(struct.unpack('<Q', f.read(8))[0]))
        data = f.read()
    kinds = {'F32': np.float32, 'U8': np.uint8, 'I32': np.int32}
    return {k: torch.from_numpy(np.frombuffer(data[v['data_offsets'][0]:v['data_offsets'][1]], kinds[v['dtype']])
                                .reshape(v['shape']).copy())
            for k, v in header.items() if k != '__metadata__'}


def write_safetensors(path, tensors):
    header, body = {}, b''
    for name, t in tensors.items():
        raw = t.detach().contiguous().numpy().astype('<f4').tobytes()
        header[name] = {'dtype': 'F32', 'shape': list(t.shape), 'data_offsets': [len(body), len(body) + len(raw)]}
        body += raw
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as f:
        f.write(struct.pack('<Q', len(text)) + text + body)


def lin(name, x):
    return F.linear(x, w[name + '.weight'], w[name + '.bias'])


def norm(name, x, eps=1e-5):
    return F.layer_norm(x, x.shape[-1:], w[name + '.weight'], w[name + '.bias'], eps)


def attention(name, q, k, v, similarity=None):
    q, k, v = lin(name + '.q_proj', q), lin(name + '.k_proj', k), lin(name + '.v_proj', v)
    q, k, v = (x.view(x.shape[0], HEADS, -1).transpose(0, 1) for x in (q, k, v))
    a = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]), -1)
    if similarity is not None:
        a = torch.softmax(a + similarity, -1)
    return lin(name + '.out_proj', (a @ v).transpose(0, 1).reshape(q.shape[1], -1))


def features(uv):
    a = 2 * math.pi * ((2 * uv - 1) @ w['prompt_encoder.pe_layer.positional_encoding_gaussian_matrix'])
    return torch.cat([torch.sin(a), torch.cos(a)], -1)


def mlp(name, x):
    x = torch.relu(lin(name + '.layers.1', torch.relu(lin(name + '.layers.0', x))))
    return lin(name + '.layers.2', x)


def decode(embedding, sparse, similarity=None, target=None):
    e, g = embedding.shape[1], embedding.shape[2]
    at = (torch.arange(g) + 0.5) / g
    place = features(torch.stack(torch.meshgrid(at, at, indexing='xy'), -1).reshape(-1, 2))
    keys = embedding[0].flatten(1).T + w['prompt_encoder.no_mask_embed.weight']
    first = torch.cat([w['mask_decoder.iou_token.weight'], w['mask_decoder.mask_tokens.weight'], sparse])
    if target is not None:
        first = first + target
    q, t = first, 'mask_decoder.transformer.'
    for i in range(2):
        n = f'{t}layers.{i}.'
        if i > 0 and target is not None:
            q = q + target
        if i == 0:
            q = attention(n + 'self_attn', q, q, q)
        else:
            q = q + attention(n + 'self_attn', q + first, q + first, q)
        q = norm(n + 'norm1', q)
        q = norm(n + 'norm2', q + attention(n + 'cross_attn_token_to_image', q + first, keys + place, keys, similarity))
        q = norm(n + 'norm3', q + lin(n + 'mlp.lin2', torch.relu(lin(n + 'mlp.lin1', q))))
        keys = norm(n + 'norm4', keys + attention(n + 'cross_attn_image_to_token', keys + place, q + first, q))
    last = q + first if target is None else q + first + target
    q = norm(t + 'norm_final_attn', q + attention(t + 'final_attn_token_to_image', last, keys + place, keys))
    u, up = keys.T.view(1, e, g, g), 'mask_decoder.output_upscaling.'
    u = F.conv_transpose2d(u, w[up + '0.weight'], w[up + '0.bias'], stride=2)
    u = F.gelu(norm(up + '1', u.permute(0, 2, 3, 1), 1e-6).permute(0, 3, 1, 2))
    u = F.gelu(F.conv_transpose2d(u, w[up + '3.weight'], w[up + '3.bias'], stride=2))[0]
    c = torch.stack([mlp(f'mask_decoder.output_hypernetworks_mlps.{m}', q[1 + m]) for m in range(1, 4)])
    return torch.einsum('mc,chw->mhw', c, u), mlp('mask_decoder.iou_prediction_head', q[0])[1:]


def point_tokens(xy, label, height, width, padded):
    scale = S / max(height, width)
    inner = torch.tensor([int(width * scale + 0.5) / width, int(height * scale + 0.5) / height])
    tokens = features((torch.tensor(xy) * inner + 0.5) / S) + torch.cat(
        [w[f'prompt_encoder.point_embeddings.{k}.weight'] for k in label])
    return torch.cat([tokens, w['prompt_encoder.not_a_point_embed.weight']]) if padded else tokens


expected = read_safetensors(os.path.join(golden, 'sam_tiny.expected.safetensors'))
embedding = expected['A.embedding']
height, width = expected['A.image'].shape[:2]
point = expected['A.point.point_coords'].tolist()
box = expected['A.point_box.box'].tolist()
prompts = {
    'point': point_tokens(point, [1], height, width, True),
    'point_box': point_tokens(expected['A.point_box.point_coords'].tolist() + [box[:2], box[2:]],
                              expected['A.point_box.point_labels'].tolist() + [2, 3], height, width, False),
}
torch.manual_seed(4)
similarity = torch.sigmoid(torch.randn(64))
target = torch.randn(1, 32) * 0.5
out = {'similarity': similarity, 'target': target[0]}
for name, sparse in prompts.items():
    low, iou = decode(embedding, sparse)
    error = (low - expected[f'A.{name}.low_res']).abs().max() / low.abs().max()
    print(f'{name}: without hints off by {error:.1e} of the published')
    assert error < 1e-5
    out[f'{name}.low_res'], out[f'{name}.iou'] = decode(embedding, sparse, similarity, target)
out['similar.low_res'], out['similar.iou'] = decode(embedding, prompts['point'], similarity)
write_safetensors(os.path.join(here, '../golden/sam_guided.safetensors'), out)
