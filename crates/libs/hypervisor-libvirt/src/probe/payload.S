# A multiboot program that enters 64-bit long mode, computes with SSE, takes timer interrupts and says so on COM1.
#   as --64 -o payload.o payload.S && objcopy -O binary -j .text payload.o payload.bin
        .set    COM1, 0x3f8
        .set    EXIT, 0xf4
        .set    BASE, 0x100000
        .code32
        .org 0
start:
header:
        .long   0x1badb002
        .long   0x00010000
        .long   -(0x1badb002 + 0x00010000)
        .long   BASE + header - start
        .long   BASE
        .long   BASE + end_data - start
        .long   BASE + end_bss - start
        .long   BASE + entry - start
entry:
        cli
        mov     $BASE + stack - start, %esp
        mov     $'A', %al
        mov     $COM1, %dx
        out     %al, %dx
        # page tables
        mov     $BASE + pml4 - start, %edi
        xor     %eax, %eax
        mov     $3072, %ecx
        rep stosl
        movl    $BASE + pdpt - start + 3, BASE + pml4 - start
        movl    $BASE + pd - start + 3, BASE + pdpt - start
        mov     $BASE + pd - start, %edi
        mov     $0x83, %eax
        mov     $512, %ecx
1:      mov     %eax, (%edi)
        add     $0x200000, %eax
        add     $8, %edi
        loop    1b
        mov     $BASE + pml4 - start, %eax
        mov     %eax, %cr3
        mov     %cr4, %eax
        or      $0x620, %eax
        mov     %eax, %cr4
        mov     $0xc0000080, %ecx
        rdmsr
        or      $0x100, %eax
        wrmsr
        mov     %cr0, %eax
        and     $~4, %eax
        or      $0x80000003, %eax
        mov     %eax, %cr0
        mov     $'B', %al
        mov     $COM1, %dx
        out     %al, %dx
        lgdt    BASE + gdtr - start
        ljmp    $8, $BASE + long_mode - start
        .code64
long_mode:
        mov     $16, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        mov     $'C', %al
        mov     $COM1, %dx
        out     %al, %dx
        # 64-bit arithmetic and SSE
        mov     $0x4645525245545249, %rax
        movq    %rax, %xmm0
        movq    %xmm0, %rbx
        cmp     %rax, %rbx
        jne     fail
        # interrupts: the timer must tick
        lea     BASE + tick - start, %rax
        lea     BASE + idt - start + 16*32, %rdi
        mov     %ax, (%rdi)
        movw    $8, 2(%rdi)
        movw    $0x8e00, 4(%rdi)
        shr     $16, %rax
        mov     %ax, 6(%rdi)
        lidt    BASE + idtr - start
        mov     $0x11, %al
        out     %al, $0x20
        out     %al, $0xa0
        mov     $32, %al
        out     %al, $0x21
        mov     $40, %al
        out     %al, $0xa1
        mov     $4, %al
        out     %al, $0x21
        mov     $2, %al
        out     %al, $0xa1
        mov     $1, %al
        out     %al, $0x21
        out     %al, $0xa1
        mov     $0xfe, %al
        out     %al, $0x21
        mov     $0xff, %al
        out     %al, $0xa1
        mov     $0x34, %al
        out     %al, $0x43
        mov     $0x9c, %al
        out     %al, $0x40
        mov     $0x2e, %al
        out     %al, $0x40
        mov     $'D', %al
        mov     $COM1, %dx
        out     %al, %dx
        sti
2:      hlt
        cmpl    $10, BASE + ticks - start
        jb      2b
        cli
        lea     BASE + word - start, %rsi
        mov     $word_end - word, %ecx
        mov     $COM1, %dx
        rep outsb
        mov     $0x10, %eax
        out     %eax, $EXIT
fail:   cli
        hlt
        jmp     fail
tick:   push    %rax
        incl    BASE + ticks - start
        mov     $0x20, %al
        out     %al, $0x20
        pop     %rax
        iretq
word:   .ascii  "FERROSTACK-KVM-64\n"
word_end:
        .balign 8
gdt:    .quad   0
        .quad   0x00af9a000000ffff
        .quad   0x00cf92000000ffff
gdtr:   .word   gdtr - gdt - 1
        .long   BASE + gdt - start
idtr:   .word   16*34 - 1
        .quad   BASE + idt - start
        .balign 4
end_data:
        .set ticks, end_data
        .set idt, end_data + 16
        .set stack, end_data + 16 + 16*34 + 1024
        .set pml4, start + 0x2000
        .set pdpt, start + 0x3000
        .set pd, start + 0x4000
        .set end_bss, start + 0x5000
